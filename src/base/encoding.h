/*
 * encoding.h
 *		Texts between the database's encoding and UTF-8.  See encoding.c.
 */
#ifndef CAPI_ENCODING_H
#define CAPI_ENCODING_H

/*
 * Both raise no error: what the other side has no character for becomes "?".
 * The text itself is returned where the two are the same, and where nobody
 * knows what the bytes mean (SQL_ASCII).  Inside a transaction.
 */
extern char *capi_to_utf8(const char *text);
extern char *capi_from_utf8(const char *text);

#endif							/* CAPI_ENCODING_H */
