/*
 * entry.h
 *		Running as the owner of the extension.  See entry.c.
 */
#ifndef CAPI_ENTRY_H
#define CAPI_ENTRY_H

typedef struct CapiOwnerScope
{
	Oid			userid;
	int			sec_context;
	int			nest_level;		/* of settings */
} CapiOwnerScope;

/*
 * As a maintenance command of the server's does it: no other role can be taken
 * on, and nothing is left behind, least of all a deferred trigger, which would
 * run as whoever commits.
 */
#define CAPI_OWNER_SEC_CONTEXT \
	(SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION)

extern Oid	capi_function_owner(Oid funcid);

/*
 * From here to capi_leave_owner() code runs as the owner of the extension and
 * finds names in pg_catalog only.
 */
extern void capi_enter_owner(Oid owner, CapiOwnerScope *scope);
extern void capi_leave_owner(const CapiOwnerScope *scope);

#endif							/* CAPI_ENTRY_H */
