/*
 * query_text.h
 *		What the text of a query tells before it is run.  See query_text.c.
 */
#ifndef CAPI_QUERY_TEXT_H
#define CAPI_QUERY_TEXT_H

/*
 * The query: one SELECT, see capi_query_single_select().  Raises 22023 for a
 * constant that names a time zone which does not exist.
 */
extern void capi_query_text_check_zones(const char *query);

/*
 * By what it returns not more than some of its orders: LIMIT, DISTINCT ON,
 * TABLESAMPLE.  NULL: by none of these.
 */
extern const char *capi_query_text_limit(const char *query);

#endif							/* CAPI_QUERY_TEXT_H */
