/*
 * none.h
 *		Words that programs write where they have no value.  Pure; called by
 *		browser.c, complete.c and the store of contexts.
 */
#ifndef CAPI_NONE_H
#define CAPI_NONE_H

/*
 * Does a text of the browser's say that there is none: undefined, null, NaN,
 * [object Object], (not set), {}, and the like?  Not for what people write.
 */
extern bool capi_none_is(const char *s, int len);

/* The problem that is named then. */
extern const char *const capi_none_problem;

#endif							/* CAPI_NONE_H */
