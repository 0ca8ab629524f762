/*
 * key.h
 *		The text of an order key.  See key.c.
 */
#ifndef CAPI_KEY_H
#define CAPI_KEY_H

#include "lib/stringinfo.h"
#include "pgtime.h"

/* How a key of several columns is written, and compared, as text. */
typedef enum CapiKeyForm
{
	CAPI_KEY_SCALAR,			/* the one column's own text */
	CAPI_KEY_RECORD,			/* like ROW(...)::text */
	CAPI_KEY_ARRAY				/* like ARRAY[...]::text */
} CapiKeyForm;

/* Settings that were in force before capi_key_use_settings(). */
typedef struct CapiKeySettings
{
	int			date_style;
	int			interval_style;
	int			extra_digits;
	int			bytea_format;
	pg_tz	   *time_zone;
} CapiKeySettings;

/* Form that capi.source.query_key_type stands for. */
extern CapiKeyForm capi_key_form(const char *query_key_type);

/* May a value of the type look different under other settings? */
extern bool capi_key_varies(Oid type);

/*
 * From here to capi_key_restore_settings(), also after an error, values have
 * the one text by which they are known to the queue.
 */
extern void capi_key_use_settings(CapiKeySettings *saved);
extern void capi_key_restore_settings(const CapiKeySettings *saved);

/* Appends one column of a key of several, with what goes before it. */
extern void capi_key_append_part(StringInfo key, CapiKeyForm form,
								 const char *part);
extern void capi_key_append_end(StringInfo key, CapiKeyForm form);

#endif							/* CAPI_KEY_H */
