/*
 * member.h
 *		Members of the objects inside an event: items of contents, app_data,
 *		original_event_data, attribution_data, store_data (SPEC 2, 4.1, 5).
 *
 * Inside these Meta refuses what it does not know (SPEC 1.3), so each has its
 * list; custom_data takes any member and has none.  Pure; called by
 * contents.c and payload.c.
 */
#ifndef CAPI_MEMBER_H
#define CAPI_MEMBER_H

#include "event/field.h"

/* A flag besides those of field.h: the member is a column of its own. */
#define CAPI_MEMBER_COLUMN	0x100

typedef struct CapiMember
{
	const char *name;
	CapiFieldForm form;
	int			flags;			/* CAPI_FIELD_BARE, _LIST, CAPI_MEMBER_COLUMN */
	const char *const *words;	/* the only values, NULL: any */
	const struct CapiMember *members;	/* of an object */
} CapiMember;

/*
 * The members that an object field (CAPI_FORM_CONTENTS, CAPI_FORM_OBJECT) may
 * have, ended by a NULL name; NULL when it may have any.
 */
extern const CapiMember *capi_member_list(int field);

/* The member called so, or NULL; name need not end with a zero. */
extern const CapiMember *capi_member_find(const CapiMember *list,
										  const char *name, int len);

#endif							/* CAPI_MEMBER_H */
