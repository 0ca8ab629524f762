/*
 * test_point.h
 *		Places at which a test stops a process; nothing in an ordinary build.
 *
 * With -DCAPI_TEST_POINTS a process that comes to a place whose name is in the
 * file capi_test_point of the data directory stays there, until it is killed
 * or the test lets it go.  test/perl/CapiTest/Points.pm is the other side.
 *
 * Each transaction of txn.c and of a reader has two: its activity without
 * "capi: ", and ": before commit" or ": after commit".
 *
 * The dispatcher counts how often it looks for work while there is a file
 * capi_test_looks, which has as many bytes then: what turns without pause beside
 * a lock is seen by that on a machine of any speed.
 */
#ifndef CAPI_TEST_POINT_H
#define CAPI_TEST_POINT_H

#ifdef CAPI_TEST_POINTS

extern void capi_test_point(const char *name);

/* The same with the name of a transaction in front. */
extern void capi_test_point_of(const char *activity, const char *moment);

extern void capi_test_look(void);

#define CAPI_TEST_POINT(name) capi_test_point(name)
#define CAPI_TEST_LOOK() capi_test_look()
#define CAPI_TEST_POINT_OF(activity, moment) \
	capi_test_point_of(activity, moment)

#else

#define CAPI_TEST_POINT(name) ((void) 0)
#define CAPI_TEST_LOOK() ((void) 0)
#define CAPI_TEST_POINT_OF(activity, moment) ((void) (activity))

#endif							/* CAPI_TEST_POINTS */

#endif							/* CAPI_TEST_POINT_H */
