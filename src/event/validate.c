/*
 * validate.c
 *		The rules by which Meta refuses an event, known beforehand (validate.h).
 *
 * event_source_url and client_user_agent of website events are documented as
 * required but not enforced (SPEC 2.1), so they are not asked for here.
 */
#include "postgres.h"

#include "base/capi.h"
#include "event/text.h"
#include "event/validate.h"


/* Seconds this large are milliseconds: as seconds they are the year 5138. */
#define MIN_TIME_IN_MS		INT64CONST(100000000000)

/* SPEC 5: places of extinfo that must not be blank. */
#define EXTINFO_VERSION		0
#define EXTINFO_OS_VERSION	4

/* A set of user_data fields. */
#define BIT(field)	(UINT64CONST(1) << ((field) - CAPI_FIELD_FIRST_USER_DATA))

StaticAssertDecl(CAPI_FIELD_FIRST_CUSTOM_DATA - CAPI_FIELD_FIRST_USER_DATA <= 64,
				 "a set of user_data fields fits 64 bits");

/*
 * SPEC 3.1: an event is refused when all of its user_data is within one of
 * these sets.
 */
static const uint64 insufficient_sets[] = {
	BIT(CAPI_FIELD_CT) | BIT(CAPI_FIELD_COUNTRY) | BIT(CAPI_FIELD_ST) |
	BIT(CAPI_FIELD_ZP) | BIT(CAPI_FIELD_GE) | BIT(CAPI_FIELD_CLIENT_USER_AGENT),
	BIT(CAPI_FIELD_DB) | BIT(CAPI_FIELD_CLIENT_USER_AGENT),
	BIT(CAPI_FIELD_FN) | BIT(CAPI_FIELD_GE),
	BIT(CAPI_FIELD_LN) | BIT(CAPI_FIELD_GE)
};

static bool
reject(CapiEvent *ev, const char *reason, int subcode)
{
	return capi_event_judge(ev, CAPI_VERDICT_REJECT, reason, subcode);
}

/*
 * SPEC 1.3: present, seconds, neither too old nor yet to come.  What is ahead by
 * no more than an hour waits for its time: clocks differ by minutes, and a naive
 * time in the hour that the end of summer time doubles is read an hour late.
 */
bool
capi_validate_time(CapiEvent *ev, int64 now_s)
{
	int64		max_age_s = CAPI_MAX_AGE_S;

	if (!ev->has_event_time)
		return reject(ev, "no_event_time", 0);
	if (ev->event_time_s >= MIN_TIME_IN_MS)
	{
		ev->event_time_s /= 1000;
		capi_event_problem(ev, "event_time", "in milliseconds, sent in seconds");
	}
	if (ev->action_source != NULL &&
		pg_strcasecmp(ev->action_source, "physical_store") == 0)
		max_age_s = CAPI_MAX_AGE_STORE_S;
	if (now_s - ev->event_time_s > max_age_s)
		return capi_event_judge(ev, CAPI_VERDICT_EXPIRED, "too_old", 2804003);
	if (ev->event_time_s - now_s > CAPI_MAX_AHEAD_S)
		return reject(ev, "in_the_future", 2804004);
	if (ev->event_time_s - now_s > CAPI_CLOCK_TOLERANCE_S)
		capi_event_problem(ev, "event_time", "in the future, sent when it is reached");
	return true;
}

/* SPEC 2.1, lower-cased as the Node library does. */
static const char *const action_sources[] = {
	"website", "email", "app", "phone_call", "chat", "physical_store",
	"system_generated", "business_messaging", "other", NULL
};

bool
capi_validate_head(CapiEvent *ev)
{
	const char *source = ev->action_source == NULL ? NULL :
		capi_word_find(action_sources, ev->action_source, strlen(ev->action_source));

	if (ev->event_name == NULL || ev->event_name[0] == '\0' ||
		!capi_text_is_valid(ev->event_name, strlen(ev->event_name)))
	{
		if (!reject(ev, "no_event_name", 0))
			return false;
	}
	if (source == NULL)
		return reject(ev, "unknown_action_source", 0);
	ev->action_source = source;
	return true;
}

static bool
check_user_data(CapiEvent *ev)
{
	uint64		user_data = 0;

	for (int f = CAPI_FIELD_FIRST_USER_DATA; f < CAPI_FIELD_FIRST_CUSTOM_DATA; f++)
		if (ev->written[f])
			user_data |= BIT(f);
	for (int i = 0; i < (int) lengthof(insufficient_sets); i++)
		if ((user_data & ~insufficient_sets[i]) == 0)
			return reject(ev, "no_customer_data", 2804050);
	return true;
}

static const char *const negative_purchase =
"negative, sent as it is: give an ignore_reason to leave it out";

/*
 * SPEC 2.3 and 4.  A Purchase without currency has a code of its own, which
 * the fact sheet lacks; the other is of a value without currency.
 */
static bool
check_custom_data(CapiEvent *ev)
{
	bool		purchase = ev->event_name != NULL &&
		strcmp(ev->event_name, "Purchase") == 0;

	if (purchase && !ev->written[CAPI_FIELD_VALUE])
		return reject(ev, "no_value", 2804009);
	/* not documented, and Meta then shows a negative purchase */
	if (purchase && ev->value_text != NULL && ev->value_text[0] == '-')
		capi_event_problem(ev, "value", negative_purchase);
	if (ev->written[CAPI_FIELD_CURRENCY])
		return true;
	if (purchase)
		return reject(ev, "no_currency", 2804010);
	if (ev->written[CAPI_FIELD_VALUE])
		return reject(ev, "no_currency", 2804023);
	return true;
}

static bool
is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

/* SPEC 2.1 and 5: both tracking flags, and extinfo with its two versions. */
static bool
check_app(CapiEvent *ev)
{
	CapiValues *extinfo = &ev->values[CAPI_FIELD_EXTINFO];

	if (!ev->written[CAPI_FIELD_ADVERTISER_TRACKING_ENABLED] ||
		!ev->written[CAPI_FIELD_APPLICATION_TRACKING_ENABLED])
		return reject(ev, "no_tracking_flags", 0);
	if (!ev->written[CAPI_FIELD_EXTINFO] || extinfo->n != CAPI_EXTINFO_PLACES ||
		(strcmp(extinfo->v[EXTINFO_VERSION], "a2") != 0 &&
		 strcmp(extinfo->v[EXTINFO_VERSION], "i2") != 0) ||
		is_blank(extinfo->v[EXTINFO_OS_VERSION]))
		return reject(ev, "bad_extinfo", 2804043);
	return true;
}

/*
 * SPEC 2.2 and 8.4: a messaging event has a standard name; PageView is one of
 * pages only.
 */
static const char *const messaging_events[] = {
	"AddPaymentInfo", "AddToCart", "AddToWishlist", "CompleteRegistration",
	"Contact", "CustomizeProduct", "Donate", "FindLocation",
	"InitiateCheckout", "Lead", "Purchase", "Schedule", "Search",
	"StartTrial", "SubmitApplication", "Subscribe", "ViewContent",
	"LeadSubmitted", "QualifiedLead", NULL
};

static bool
is_messaging_event(const char *name)
{
	const char *found = name == NULL ? NULL :
		capi_word_find(messaging_events, name, strlen(name));

	return found != NULL && strcmp(found, name) == 0;
}

/* SPEC 2.1 and 8.4: the ids that each channel needs. */
static bool
check_messaging(CapiEvent *ev)
{
	CapiValues *channel = &ev->values[CAPI_FIELD_MESSAGING_CHANNEL];
	const char *name;

	if (!is_messaging_event(ev->event_name))
		return reject(ev, "no_messaging_event", 2804066);
	if (!ev->written[CAPI_FIELD_MESSAGING_CHANNEL])
		return reject(ev, "no_messaging_channel", 0);
	name = channel->v[0];
	if (pg_strcasecmp(name, "messenger") == 0 && !ev->written[CAPI_FIELD_PAGE_ID])
		return reject(ev, "no_page_id", 2804069);
	if (pg_strcasecmp(name, "instagram") == 0 && !ev->written[CAPI_FIELD_IG_ACCOUNT_ID])
		return reject(ev, "no_ig_account_id", 2804079);
	if (pg_strcasecmp(name, "whatsapp") != 0)
		return true;
	if (!ev->written[CAPI_FIELD_CTWA_CLID])
		return reject(ev, "no_ctwa_clid", 2804087);
	if (!ev->written[CAPI_FIELD_PAGE_ID] &&
		!ev->written[CAPI_FIELD_WHATSAPP_BUSINESS_ACCOUNT_ID])
		return reject(ev, "no_page_or_whatsapp_id", 2804116);
	return true;
}

bool
capi_validate_fields(CapiEvent *ev)
{
	const char *source = ev->action_source != NULL ? ev->action_source : "";

	if (!check_user_data(ev) || !check_custom_data(ev))
		return false;
	if (strcmp(source, "app") == 0)
		return check_app(ev);
	if (strcmp(source, "business_messaging") == 0)
		return check_messaging(ev);
	return true;
}
