/*
 * capture.h
 *		The trigger side.  See capture.c.
 */
#ifndef CAPI_CAPTURE_H
#define CAPI_CAPTURE_H

extern void capi_capture_init(void);	/* once per process */

/* in renumber.c; called by capi_capture_init() */
extern void capi_renumber_init(void);

#endif							/* CAPI_CAPTURE_H */
