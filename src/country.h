/*
 * country.h
 *		Countries, telephone numbering, currencies, states of the USA.
 *		Pure; called by normalize.c and payload.c.  Sources of the facts:
 *		country_tables.h.
 */
#ifndef CAPI_COUNTRY_H
#define CAPI_COUNTRY_H

#include "lib/stringinfo.h"

typedef struct CapiCountry
{
	char		alpha2[3];
	char		alpha3[4];
	int			calling_code;	/* 0: has no telephones of its own */
	const char *trunk;			/* before national numbers, "|" between */
	const char *idd;			/* prefix for calls abroad */
	int			min_digits;		/* national significant number */
	int			max_digits;
} CapiCountry;

/* By lower-case ISO 3166-1 alpha-2 code; NULL if there is none such. */
extern const CapiCountry *capi_country_find(const char *alpha2);

/*
 * By code of two or three letters or by name, lower-case and without spaces
 * and punctuation (capi_text_append).  NULL if not recognised.
 */
extern const CapiCountry *capi_country_recognise(const char *folded);

/* Code of a state of the USA by name or code, folded as above, or NULL. */
extern const char *capi_country_us_state(const char *folded);

/* Is this, in upper case, an ISO 4217 code? */
extern bool capi_country_has_currency(const char *code);

/*
 * Appends the international form, digits only, of a number of n digits that
 * was written without international prefix in this country.  False if it is
 * too short to be one.
 */
extern bool capi_country_phone_from_national(const CapiCountry *country,
											 const char *digits, int n,
											 StringInfo out);

/*
 * Length of the trunk prefix that was wrongly left in an international number
 * of this country, at *offset, as in +44 (0) 20 ...; 0 if there is none.
 */
extern int	capi_country_phone_stray_trunk(const CapiCountry *country,
										   const char *digits, int n,
										   int *offset);

#endif							/* CAPI_COUNTRY_H */
