/*
 * form.h
 *		The functions that bring one value to normal form, one for each
 *		CapiFieldForm, for normalize.c to choose from.  Pure.
 *
 * Each gets valid, trimmed, non-empty UTF-8 text and appends the normal form to
 * out.  When there is nothing to send it returns false; what it may have
 * appended by then is taken away by the caller.
 */
#ifndef CAPI_FORM_H
#define CAPI_FORM_H

#include "lib/stringinfo.h"

typedef struct CapiInput
{
	const char *s;				/* not terminated */
	int			len;
	const char *country;		/* the customer's, alpha-2, or NULL */
	const char *problem;		/* out: static text, see normalize.h */
} CapiInput;

typedef bool (*CapiFormFunction) (CapiInput *in, StringInfo out);

/* For "return refuse(...)". */
static inline bool
capi_form_refuse(CapiInput *in, const char *problem)
{
	in->problem = problem;
	return false;
}

static inline bool
capi_form_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
capi_form_is_alnum(char c)
{
	return capi_form_is_digit(c) || (c >= 'a' && c <= 'z') ||
		(c >= 'A' && c <= 'Z');
}

/* in browser.c */
extern bool capi_form_ip(CapiInput *in, StringInfo out);
extern bool capi_form_browser_id(CapiInput *in, StringInfo out);
extern bool capi_form_browser_text(CapiInput *in, StringInfo out);
extern bool capi_form_click_id(CapiInput *in, StringInfo out);
extern bool capi_form_url(CapiInput *in, StringInfo out);

/* in country_text.c */
extern bool capi_form_country(CapiInput *in, StringInfo out);

/* in date.c */
extern bool capi_form_date(CapiInput *in, StringInfo out);

/* in email.c */
extern bool capi_form_email(CapiInput *in, StringInfo out);

/* in person.c */
extern bool capi_form_name(CapiInput *in, StringInfo out);
extern bool capi_form_full_name(CapiInput *in, StringInfo out);
extern bool capi_form_gender(CapiInput *in, StringInfo out);

/* in phone.c */
extern bool capi_form_phone(CapiInput *in, StringInfo out);

/* in place.c */
extern bool capi_form_city(CapiInput *in, StringInfo out);
extern bool capi_form_state(CapiInput *in, StringInfo out);
extern bool capi_form_zip(CapiInput *in, StringInfo out);

/*
 * Steps over the next of several values in one text, which email.c and phone.c
 * know how to tell apart: *s begins and *len is what is left, on return the
 * value is in->s and in->len.  False at the end.
 */
extern bool capi_email_next(const char **s, int *len, CapiInput *in);
extern bool capi_phone_next(const char **s, int *len, CapiInput *in);

#endif							/* CAPI_FORM_H */
