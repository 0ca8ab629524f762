/*
 * person.h
 *		A person's name in one text -> first and last name.  Pure; called by
 *		payload.c.
 */
#ifndef CAPI_PERSON_H
#define CAPI_PERSON_H

/* Part of a text; len is 0 if it is missing. */
typedef struct CapiSpan
{
	const char *s;				/* not terminated */
	int			len;
} CapiSpan;

typedef struct CapiName
{
	CapiSpan	first;
	CapiSpan	last;
} CapiName;

/*
 * Splits trimmed, valid UTF-8 text.  country: the customer's, or NULL.  False
 * if it cannot be a person's name; with true at least one part is there.
 */
extern bool capi_person_split(const char *s, int len, const char *country,
							  CapiName *name);

#endif							/* CAPI_PERSON_H */
