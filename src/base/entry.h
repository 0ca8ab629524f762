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

extern Oid	capi_function_owner(Oid funcid);

/* Owner of the extension, InvalidOid when it is not there. */
extern Oid	capi_extension_owner(void);

/*
 * From here to capi_leave_owner() code runs as the owner of the extension and
 * finds names in pg_catalog only.
 */
extern void capi_enter_owner(Oid owner, CapiOwnerScope *scope);
extern void capi_leave_owner(const CapiOwnerScope *scope);

#endif							/* CAPI_ENTRY_H */
