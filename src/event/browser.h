/*
 * browser.h
 *		Click ids of Meta's ads (fbclid).  Pure; called by complete.c.
 */
#ifndef CAPI_BROWSER_H
#define CAPI_BROWSER_H

/*
 * The click id in a URL or query string, or that the text itself is, decoded
 * and in memory of its own; NULL if there is none, or not all of it.
 */
extern char *capi_browser_click_id(const char *s, int len);

#endif							/* CAPI_BROWSER_H */
