/*
 * hash.h
 *		SHA-256 of canonical text, and recognising what already is one.
 *		Pure; called by payload.c and normalize_sql.c.
 */
#ifndef CAPI_HASH_H
#define CAPI_HASH_H

#define CAPI_HASH_HEX_LEN	64

/*
 * Is the text a SHA-256 in hexadecimal, of either case, with or without the
 * appendix of Meta's own builder (SPEC 3.4)?  Then the bare lower-case
 * hash is written to hex (CAPI_HASH_HEX_LEN bytes, no terminator).
 */
extern bool capi_hash_recognise(const char *text, int len, char *hex);

/* Writes the lower-case hash of the bytes to hex, as above.  len > 0. */
extern void capi_hash_hex(const char *text, int len, char *hex);

#endif							/* CAPI_HASH_H */
