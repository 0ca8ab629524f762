/*
 * nearest.h
 *		The known name that a wrong one was probably meant to be.
 */
#ifndef CAPI_NEAREST_H
#define CAPI_NEAREST_H

/* One of the known names, or NULL when none is similar enough. */
extern const char *capi_nearest(const char *given, const char *const *known,
								int n);

#endif							/* CAPI_NEAREST_H */
