/*
 * extension.h
 *		The extension as an object of this database.
 */
#ifndef CAPI_EXTENSION_H
#define CAPI_EXTENSION_H

typedef enum CapiExtensionLock
{
	CAPI_EXTENSION_LOCKED,		/* stays until the end of the transaction */
	CAPI_EXTENSION_BUSY,		/* somebody is about to drop it */
	CAPI_EXTENSION_GONE
} CapiExtensionLock;

/*
 * Keeps DROP EXTENSION out until the end of the transaction, without ever
 * waiting.  No snapshot may have been taken yet.  owner: of the extension.
 */
extern CapiExtensionLock capi_extension_lock(Oid *owner);

/* The role it belongs to; InvalidOid when it is not there. */
extern Oid	capi_extension_owner(void);

#endif							/* CAPI_EXTENSION_H */
