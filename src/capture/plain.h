/*
 * plain.h
 *		The server's plain types, whose functions are known not to raise an error.
 */
#ifndef CAPI_PLAIN_H
#define CAPI_PLAIN_H

#include "fmgr.h"

/* A value's text, and whether two values are the same; domains are like their base. */
extern bool capi_plain_type(Oid type);

/* The value of such a text; the type is no domain. */
extern bool capi_plain_input(Oid type, const char *text);

/* A function that is the server's own is found without loading a library. */
extern bool capi_plain_function(Oid function);

/* A value that is where it is said to be, in the form in which it is used. */
extern bool capi_plain_value(Datum varlena);

#endif							/* CAPI_PLAIN_H */
