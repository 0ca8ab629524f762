/*
 * browser.h
 *		Click ids of Meta's ads (fbclid).  Pure; called by payload.c.
 */
#ifndef CAPI_BROWSER_H
#define CAPI_BROWSER_H

/*
 * The click id in a URL or query string, or if bare the text itself when it
 * can be one.  Its length is put into *id_len; NULL if there is none.
 */
extern const char *capi_browser_click_id(const char *s, int len, bool bare,
										 int *id_len);

/* Is this a click id or a URL with one, put where an fbc belongs? */
extern bool capi_browser_looks_like_click(const char *s, int len);

#endif							/* CAPI_BROWSER_H */
