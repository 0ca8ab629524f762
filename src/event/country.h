/*
 * country.h
 *		Countries, telephone numbering, states of the USA.  Pure; called by
 *		phone.c, place.c, date.c and payload.c.  Sources of the facts:
 *		country_tables.h.
 */
#ifndef CAPI_COUNTRY_H
#define CAPI_COUNTRY_H

#include "lib/stringinfo.h"

typedef struct CapiCountry
{
	char		alpha2[3];
	char		alpha3[4];
	int			calling_code;
	const char *trunk;			/* before national numbers, "|" between */
	const char *idd;			/* prefix for calls abroad */
	int			min_digits;		/* national significant number */
	int			max_digits;
} CapiCountry;

/* By lower-case ISO 3166-1 alpha-2 code; NULL if there is none such. */
extern const CapiCountry *capi_country_find(const char *alpha2);

/*
 * By the key (capi_text_key) of a code of two or three letters or of a name.
 * NULL if not recognised.
 */
extern const CapiCountry *capi_country_recognise(const char *key);

/*
 * By what people and shop systems write, valid UTF-8: a code, a name, both, a
 * remark in brackets.  NULL if not recognised.
 */
extern const CapiCountry *capi_country_read(const char *s, int len);

/* Code of a state of the USA by the key of its name or code, or NULL. */
extern const char *capi_country_us_state(const char *key);

/*
 * The country whose calling code an international number begins with, and the
 * length of that code; of several countries with one code home, or the one that
 * has the plan.  NULL if the code is none of a country.
 */
extern const CapiCountry *capi_country_by_number(const char *digits, int n,
												 const CapiCountry *home,
												 int *code_len);

#endif							/* CAPI_COUNTRY_H */
