/*
 * entity.h
 *		Character references of HTML, &eacute; &#039; &#x27;, as themes and form
 *		builders store them.  Pure; called by normalize.c and complete.c.
 */
#ifndef CAPI_ENTITY_H
#define CAPI_ENTITY_H

typedef enum CapiEntityUse
{
	CAPI_ENTITY_NEVER,			/* nothing is decoded */
	CAPI_ENTITY_AMPERSAND,		/* in a URL: &amp; and its numbers only */
	CAPI_ENTITY_CLOSED,			/* those that end with a semicolon */
	CAPI_ENTITY_WORD,			/* and those that end with the word */
	CAPI_ENTITY_TEXT			/* as HTML5 reads text: also within a word */
} CapiEntityUse;

/*
 * The text with its references decoded, also when it was encoded twice, in
 * memory of its own; or the text itself when there are none.  Valid UTF-8 stays
 * valid.
 */
extern const char *capi_entity_decode(const char *s, int *len,
									  CapiEntityUse use);

#endif							/* CAPI_ENTITY_H */
