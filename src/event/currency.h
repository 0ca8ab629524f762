/*
 * currency.h
 *		ISO 4217: the known codes and their minor units.  Pure; called by
 *		normalize.c.
 */
#ifndef CAPI_CURRENCY_H
#define CAPI_CURRENCY_H

/*
 * Decimals of the minor unit of a currency, by upper-case code: 2 for EUR, 0
 * for JPY, 3 for KWD, also 0 for units that have none, such as gold.  -1 if the
 * code is not known.
 */
extern int	capi_currency_exponent(const char *code);

#endif							/* CAPI_CURRENCY_H */
