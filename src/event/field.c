/*
 * field.c
 *		The table of fields (field.h).
 *
 * Knows names and kinds only; what a kind means is in normalize.c and the
 * files of form.h (text), and payload.c (JSON).  Used by query.c to check column names.
 */
#include "postgres.h"

#include "event/field.h"

#define HASHED_LIST		(CAPI_FIELD_HASHED | CAPI_FIELD_LIST)
#define JSON_BARE		(CAPI_FIELD_JSON | CAPI_FIELD_BARE)

/* A name and its length. */
#define NAMED(name)		name, sizeof(name) - 1

#define EVENT_FIELD(id, name, form, flags, spec) \
	[CAPI_FIELD_##id] = {NAMED(name), CAPI_GROUP_EVENT, CAPI_FORM_##form, flags, \
		NULL, spec}
#define APP_FIELD(id, name, form, flags) \
	[CAPI_FIELD_##id] = {NAMED(name), CAPI_GROUP_APP_DATA, CAPI_FORM_##form, flags, \
		NULL, "5"}
#define USER_FIELD(id, name, form, flags) \
	[CAPI_FIELD_##id] = {NAMED(name), CAPI_GROUP_USER_DATA, CAPI_FORM_##form, flags, \
		NULL, "3.2"}
#define CUSTOM_FIELD(id, name, form, flags) \
	[CAPI_FIELD_##id] = {NAMED(name), CAPI_GROUP_CUSTOM_DATA, CAPI_FORM_##form, flags, \
		NULL, "4"}
#define SOURCE_FIELD(id, name, form, spec) \
	[CAPI_FIELD_##id] = {NAMED(name), CAPI_GROUP_SOURCE, CAPI_FORM_##form, 0, NULL, \
		spec}
#define WORD_FIELD(id, name, group, flags, words, spec) \
	[CAPI_FIELD_##id] = {NAMED(name), CAPI_GROUP_##group, CAPI_FORM_TEXT, flags, \
		words, spec}

const char *const capi_words_delivery_category[] = {
	"in_store", "curbside", "home_delivery", NULL
};

static const char *const processing_options[] = {"LDU", NULL};

/* SPEC 2; the states are those of the USA, and 0 lets Meta locate. */
static const char *const processing_countries[] = {"0", "1", NULL};

static const char *const processing_states[] = {
	"0", "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008",
	"1009", "1010", "1011", "1012", "1013", NULL
};

static const char *const messaging_channels[] = {
	"whatsapp", "messenger", "instagram", NULL
};

static const char *const customer_segments[] = {
	"new_customer_to_business", "new_customer_to_business_line",
	"new_customer_to_product_area", "new_customer_to_medium",
	"existing_customer_to_business", "existing_customer_to_business_line",
	"existing_customer_to_product_area", "existing_customer_to_medium",
	"customer_in_loyalty_program", NULL
};

const CapiFieldInfo capi_fields[CAPI_FIELD_COUNT] = {
	EVENT_FIELD(EVENT_SOURCE_URL, "event_source_url", URL, 0, "2"),
	EVENT_FIELD(REFERRER_URL, "referrer_url", BROWSER_TEXT, 0, "2"),
	EVENT_FIELD(OPT_OUT, "opt_out", BOOLEAN, CAPI_FIELD_BARE, "2"),
	WORD_FIELD(DATA_PROCESSING_OPTIONS, "data_processing_options", EVENT,
			   CAPI_FIELD_LIST | CAPI_FIELD_EMPTY, processing_options, "2"),
	[CAPI_FIELD_DATA_PROCESSING_OPTIONS_COUNTRY] =
	{NAMED("data_processing_options_country"), CAPI_GROUP_EVENT,
	CAPI_FORM_INTEGER, CAPI_FIELD_BARE, processing_countries, "2"},
	[CAPI_FIELD_DATA_PROCESSING_OPTIONS_STATE] =
	{NAMED("data_processing_options_state"), CAPI_GROUP_EVENT,
	CAPI_FORM_INTEGER, CAPI_FIELD_BARE, processing_states, "2"},
	WORD_FIELD(MESSAGING_CHANNEL, "messaging_channel", EVENT, 0,
			   messaging_channels, "2"),
	EVENT_FIELD(ADVANCED_MEASUREMENT_TABLE, "advanced_measurement_table",
				TEXT, 0, "2"),
	EVENT_FIELD(ORIGINAL_EVENT_DATA, "original_event_data",
				OBJECT, JSON_BARE, "2"),
	EVENT_FIELD(ATTRIBUTION_DATA, "attribution_data", OBJECT, JSON_BARE, "5"),

	APP_FIELD(ADVERTISER_TRACKING_ENABLED, "advertiser_tracking_enabled",
			  FLAG, CAPI_FIELD_BARE),
	APP_FIELD(APPLICATION_TRACKING_ENABLED, "application_tracking_enabled",
			  FLAG, CAPI_FIELD_BARE),
	APP_FIELD(EXTINFO, "extinfo", TEXT, CAPI_FIELD_LIST | CAPI_FIELD_PLACES),
	APP_FIELD(APP_DATA, "app_data", OBJECT, JSON_BARE),

	USER_FIELD(EM, "em", EMAIL, HASHED_LIST),
	USER_FIELD(PH, "ph", PHONE, HASHED_LIST),
	USER_FIELD(FN, "fn", NAME, HASHED_LIST),
	USER_FIELD(LN, "ln", NAME, HASHED_LIST),
	USER_FIELD(GE, "ge", GENDER, HASHED_LIST),
	USER_FIELD(DB, "db", DATE, HASHED_LIST),
	USER_FIELD(CT, "ct", CITY, HASHED_LIST),
	USER_FIELD(ST, "st", STATE, HASHED_LIST),
	USER_FIELD(ZP, "zp", ZIP, HASHED_LIST),
	USER_FIELD(COUNTRY, "country", COUNTRY, HASHED_LIST),
	USER_FIELD(EXTERNAL_ID, "external_id", EXTERNAL_ID, HASHED_LIST),
	USER_FIELD(CLIENT_IP_ADDRESS, "client_ip_address", IP, 0),
	USER_FIELD(CLIENT_USER_AGENT, "client_user_agent", BROWSER_TEXT, 0),
	USER_FIELD(FBC, "fbc", BROWSER_ID, 0),
	USER_FIELD(FBP, "fbp", BROWSER_ID, 0),
	USER_FIELD(SUBSCRIPTION_ID, "subscription_id", OWN_ID, 0),
	USER_FIELD(FB_LOGIN_ID, "fb_login_id", ID, CAPI_FIELD_BARE),
	USER_FIELD(LEAD_ID, "lead_id", ID, CAPI_FIELD_BARE),
	USER_FIELD(MADID, "madid", BROWSER_TEXT, 0),
	USER_FIELD(ANON_ID, "anon_id", BROWSER_TEXT, 0),
	USER_FIELD(APP_USER_ID, "app_user_id", TEXT, CAPI_FIELD_HASHED),
	USER_FIELD(PAGE_ID, "page_id", ID, 0),
	USER_FIELD(PAGE_SCOPED_USER_ID, "page_scoped_user_id", BROWSER_TEXT, 0),
	USER_FIELD(CTWA_CLID, "ctwa_clid", BROWSER_TEXT, 0),
	USER_FIELD(IG_ACCOUNT_ID, "ig_account_id", ID, 0),
	USER_FIELD(IG_SID, "ig_sid", BROWSER_TEXT, 0),
	USER_FIELD(WHATSAPP_BUSINESS_ACCOUNT_ID, "whatsapp_business_account_id",
			   ID, 0),

	CUSTOM_FIELD(VALUE, "value", DECIMAL, CAPI_FIELD_BARE),
	CUSTOM_FIELD(CURRENCY, "currency", CURRENCY, 0),
	CUSTOM_FIELD(ORDER_ID, "order_id", OWN_ID, 0),
	CUSTOM_FIELD(CONTENT_IDS, "content_ids", PRODUCT_ID, CAPI_FIELD_LIST),
	CUSTOM_FIELD(CONTENTS, "contents", CONTENTS, JSON_BARE),
	CUSTOM_FIELD(CONTENT_TYPE, "content_type", TEXT, 0),
	CUSTOM_FIELD(CONTENT_NAME, "content_name", WORDS, 0),
	CUSTOM_FIELD(CONTENT_CATEGORY, "content_category", WORDS, 0),
	CUSTOM_FIELD(NUM_ITEMS, "num_items", NATURAL, CAPI_FIELD_BARE),
	CUSTOM_FIELD(SEARCH_STRING, "search_string", WORDS, 0),
	CUSTOM_FIELD(STATUS, "status", TEXT, 0),
	CUSTOM_FIELD(PREDICTED_LTV, "predicted_ltv", DECIMAL, CAPI_FIELD_BARE),
	CUSTOM_FIELD(NET_REVENUE, "net_revenue", DECIMAL, CAPI_FIELD_BARE),
	WORD_FIELD(DELIVERY_CATEGORY, "delivery_category", CUSTOM_DATA, 0,
			   capi_words_delivery_category, "4"),
	CUSTOM_FIELD(ITEM_NUMBER, "item_number", OWN_ID, 0),
	WORD_FIELD(CUSTOMER_SEGMENTATION, "customer_segmentation", CUSTOM_DATA, 0,
			   customer_segments, "2"),
	CUSTOM_FIELD(STORE_DATA, "store_data", OBJECT, JSON_BARE),
	CUSTOM_FIELD(CUSTOM_DATA, "custom_data", OBJECT, JSON_BARE),

	SOURCE_FIELD(NAME, "name", FULL_NAME, "3.2"),
	SOURCE_FIELD(FBCLID, "fbclid", CLICK_ID, "3.2"),
	SOURCE_FIELD(FBCLID_TIME, "fbclid_time", TEXT, "3.2")
};

int
capi_field_lookup(const char *name)
{
	for (int i = 0; i < CAPI_FIELD_COUNT; i++)
		if (strcmp(capi_fields[i].name, name) == 0)
			return i;
	return -1;
}

/*
 * Names without underscores; of those of capi._usual_names() what somebody may
 * well leave as it is.
 */
static const struct
{
	const char *usual;
	int			field;
}			usual_names[] = {
	{"amount", CAPI_FIELD_VALUE},
	{"birthday", CAPI_FIELD_DB},
	{"city", CAPI_FIELD_CT},
	{"clientip", CAPI_FIELD_CLIENT_IP_ADDRESS},
	{"countrycode", CAPI_FIELD_COUNTRY},
	{"currencycode", CAPI_FIELD_CURRENCY},
	{"customerid", CAPI_FIELD_EXTERNAL_ID},
	{"dateofbirth", CAPI_FIELD_DB},
	{"email", CAPI_FIELD_EM},
	{"emailaddress", CAPI_FIELD_EM},
	{"firstname", CAPI_FIELD_FN},
	{"gender", CAPI_FIELD_GE},
	{"ip", CAPI_FIELD_CLIENT_IP_ADDRESS},
	{"ipaddress", CAPI_FIELD_CLIENT_IP_ADDRESS},
	{"items", CAPI_FIELD_CONTENTS},
	{"lastname", CAPI_FIELD_LN},
	{"mail", CAPI_FIELD_EM},
	{"mobile", CAPI_FIELD_PH},
	{"ordernumber", CAPI_FIELD_ORDER_ID},
	{"phone", CAPI_FIELD_PH},
	{"phonenumber", CAPI_FIELD_PH},
	{"postalcode", CAPI_FIELD_ZP},
	{"postcode", CAPI_FIELD_ZP},
	{"price", CAPI_FIELD_VALUE},
	{"state", CAPI_FIELD_ST},
	{"surname", CAPI_FIELD_LN},
	{"telephone", CAPI_FIELD_PH},
	{"total", CAPI_FIELD_VALUE},
	{"url", CAPI_FIELD_EVENT_SOURCE_URL},
	{"useragent", CAPI_FIELD_CLIENT_USER_AGENT},
	{"userid", CAPI_FIELD_EXTERNAL_ID},
	{"zip", CAPI_FIELD_ZP},
	{"zipcode", CAPI_FIELD_ZP}
};

int
capi_field_lookup_usual(const char *name, int len)
{
	char		plain[NAMEDATALEN];
	int			n = 0;

	for (int i = 0; i < len; i++)
	{
		if (n == NAMEDATALEN - 1)
			return -1;
		if (name[i] != '_')
			plain[n++] = pg_tolower((unsigned char) name[i]);
	}
	plain[n] = '\0';
	for (size_t i = 0; i < lengthof(usual_names); i++)
		if (strcmp(usual_names[i].usual, plain) == 0)
			return usual_names[i].field;
	return -1;
}

const char *
capi_word_find(const char *const *words, const char *s, int len)
{
	for (; *words != NULL; words++)
		if ((int) strlen(*words) == len && pg_strncasecmp(*words, s, len) == 0)
			return *words;
	return NULL;
}

bool
capi_field_is_list(int field)
{
	return (capi_field_info(field)->flags & CAPI_FIELD_LIST) != 0;
}
