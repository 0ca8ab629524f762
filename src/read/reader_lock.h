/*
 * reader_lock.h
 *		The lock that tells of the life of a reader.  See reader_lock.c.
 */
#ifndef CAPI_READER_LOCK_H
#define CAPI_READER_LOCK_H

/*
 * In a reader, before it runs anything of the role's.  Those of audiences are
 * apart: neither kind waits for the other.
 */
extern void capi_reader_lock_keep(Oid role, bool apart);

/* Does any reader of the role in this database run something? */
extern bool capi_reader_lock_held(Oid role, bool apart);

#endif							/* CAPI_READER_LOCK_H */
