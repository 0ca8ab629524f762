/*
 * number.h
 *		Telephone numbers, postcodes and ids that passed through a column or a
 *		spreadsheet of numbers.  Pure; called by normalize.c.
 */
#ifndef CAPI_NUMBER_H
#define CAPI_NUMBER_H

#include "event/form.h"

#define CAPI_NUMBER_MAX_LEN		48

/*
 * Is the text a whole number with decimals or an exponent, as such columns
 * print it: 10115.0, 1.712.345,00, 4.917112345678E+12?  Then its digits take
 * the text's place, in buf if the text itself has not got them in a row, when
 * there are at least min_digits.  Any other text stays.  False with the problem
 * when the number has fewer digits than it stands for.
 */
extern bool capi_number_mend(CapiInput *in, int min_digits, char *buf);

/* Takes away by what spreadsheets keep digits as text: ="0171", '0171, "0171". */
extern void capi_number_unwrap(CapiInput *in);

/*
 * Digits of any script, full width, and the marks and spaces between them as
 * ASCII has them, in a copy if there are any.
 */
extern void capi_number_to_ascii(CapiInput *in);

/* A number of so many digits, and decimals that are not only zeros? */
extern bool capi_number_is_fraction(const CapiInput *in, int min_digits);

#endif							/* CAPI_NUMBER_H */
