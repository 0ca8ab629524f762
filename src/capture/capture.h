/*
 * capture.h
 *		The trigger side.  See capture.c.
 */
#ifndef CAPI_CAPTURE_H
#define CAPI_CAPTURE_H

extern void capi_capture_init(void);	/* once per process */

#endif							/* CAPI_CAPTURE_H */
