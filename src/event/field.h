/*
 * field.h
 *		The fields of an event that a source's query may return (SPEC 2 to 5).
 *
 * One row per field, in the order in which they are sent.  A new field needs a
 * constant here and a row in field.c; normalize.c and payload.c follow the
 * table.  event_name, event_time, event_id and action_source are members of
 * the event itself (event.h), not fields.
 */
#ifndef CAPI_FIELD_H
#define CAPI_FIELD_H

typedef enum CapiField
{
	/* on the event */
	CAPI_FIELD_EVENT_SOURCE_URL,
	CAPI_FIELD_REFERRER_URL,
	CAPI_FIELD_OPT_OUT,
	CAPI_FIELD_DATA_PROCESSING_OPTIONS,
	CAPI_FIELD_DATA_PROCESSING_OPTIONS_COUNTRY,
	CAPI_FIELD_DATA_PROCESSING_OPTIONS_STATE,
	CAPI_FIELD_MESSAGING_CHANNEL,
	CAPI_FIELD_ADVANCED_MEASUREMENT_TABLE,
	CAPI_FIELD_ORIGINAL_EVENT_DATA,
	CAPI_FIELD_ATTRIBUTION_DATA,

	/* in app_data */
	CAPI_FIELD_ADVERTISER_TRACKING_ENABLED,
	CAPI_FIELD_APPLICATION_TRACKING_ENABLED,
	CAPI_FIELD_EXTINFO,
	CAPI_FIELD_APP_DATA,		/* its other members, merged into app_data */

	/* in user_data */
	CAPI_FIELD_EM,
	CAPI_FIELD_PH,
	CAPI_FIELD_FN,
	CAPI_FIELD_LN,
	CAPI_FIELD_GE,
	CAPI_FIELD_DB,
	CAPI_FIELD_CT,
	CAPI_FIELD_ST,
	CAPI_FIELD_ZP,
	CAPI_FIELD_COUNTRY,
	CAPI_FIELD_EXTERNAL_ID,
	CAPI_FIELD_CLIENT_IP_ADDRESS,
	CAPI_FIELD_CLIENT_USER_AGENT,
	CAPI_FIELD_FBC,
	CAPI_FIELD_FBP,
	CAPI_FIELD_SUBSCRIPTION_ID,
	CAPI_FIELD_FB_LOGIN_ID,
	CAPI_FIELD_LEAD_ID,
	CAPI_FIELD_MADID,
	CAPI_FIELD_ANON_ID,
	CAPI_FIELD_APP_USER_ID,
	CAPI_FIELD_PAGE_ID,
	CAPI_FIELD_PAGE_SCOPED_USER_ID,
	CAPI_FIELD_CTWA_CLID,
	CAPI_FIELD_IG_ACCOUNT_ID,
	CAPI_FIELD_IG_SID,
	CAPI_FIELD_WHATSAPP_BUSINESS_ACCOUNT_ID,

	/* in custom_data */
	CAPI_FIELD_VALUE,
	CAPI_FIELD_CURRENCY,
	CAPI_FIELD_ORDER_ID,
	CAPI_FIELD_CONTENT_IDS,
	CAPI_FIELD_CONTENTS,
	CAPI_FIELD_CONTENT_TYPE,
	CAPI_FIELD_CONTENT_NAME,
	CAPI_FIELD_CONTENT_CATEGORY,
	CAPI_FIELD_NUM_ITEMS,
	CAPI_FIELD_SEARCH_STRING,
	CAPI_FIELD_STATUS,
	CAPI_FIELD_PREDICTED_LTV,
	CAPI_FIELD_NET_REVENUE,
	CAPI_FIELD_DELIVERY_CATEGORY,
	CAPI_FIELD_ITEM_NUMBER,
	CAPI_FIELD_CUSTOMER_SEGMENTATION,
	CAPI_FIELD_STORE_DATA,
	CAPI_FIELD_CUSTOM_DATA,		/* free properties, merged into custom_data */

	/* not sent: other fields are made of them where those are missing */
	CAPI_FIELD_NAME,			/* fn and ln */
	CAPI_FIELD_FBCLID,			/* fbc */
	CAPI_FIELD_FBCLID_TIME,		/* when fbclid was clicked, for fbc */

	CAPI_FIELD_COUNT
} CapiField;

/* The groups follow one another in the enumeration. */
#define CAPI_FIELD_FIRST_APP_DATA		CAPI_FIELD_ADVERTISER_TRACKING_ENABLED
#define CAPI_FIELD_FIRST_USER_DATA		CAPI_FIELD_EM
#define CAPI_FIELD_FIRST_CUSTOM_DATA	CAPI_FIELD_VALUE

typedef enum CapiFieldGroup
{
	CAPI_GROUP_EVENT,
	CAPI_GROUP_APP_DATA,
	CAPI_GROUP_USER_DATA,
	CAPI_GROUP_CUSTOM_DATA,
	CAPI_GROUP_SOURCE			/* of other fields */
} CapiFieldGroup;

/* What is done with the text of a field (form.h). */
typedef enum CapiFieldForm
{
	CAPI_FORM_TEXT,				/* trimmed */
	CAPI_FORM_WORDS,			/* the same of what people read */
	CAPI_FORM_EMAIL,
	CAPI_FORM_PHONE,
	CAPI_FORM_NAME,
	CAPI_FORM_FULL_NAME,		/* one column for first and last name */
	CAPI_FORM_GENDER,
	CAPI_FORM_DATE,
	CAPI_FORM_CITY,
	CAPI_FORM_STATE,
	CAPI_FORM_ZIP,
	CAPI_FORM_COUNTRY,
	CAPI_FORM_EXTERNAL_ID,
	CAPI_FORM_OWN_ID,			/* the shop's own, of an order, say */
	CAPI_FORM_PRODUCT_ID,
	CAPI_FORM_IP,
	CAPI_FORM_BROWSER_ID,		/* fbc and fbp */
	CAPI_FORM_BROWSER_TEXT,		/* what else the browser or an app says */
	CAPI_FORM_CLICK_ID,			/* fbclid */
	CAPI_FORM_URL,
	CAPI_FORM_DECIMAL,
	CAPI_FORM_INTEGER,
	CAPI_FORM_NATURAL,			/* an integer that is not negative */
	CAPI_FORM_ID,				/* digits, not only zeros; Meta's own ids */
	CAPI_FORM_SECONDS,			/* Unix time, in seconds or milliseconds */
	CAPI_FORM_BOOLEAN,
	CAPI_FORM_FLAG,				/* a boolean as 0 or 1 */
	CAPI_FORM_CURRENCY,
	CAPI_FORM_CONTENTS,			/* JSON array of items, SPEC 4.1 */
	CAPI_FORM_OBJECT,			/* JSON object, passed on */
	CAPI_FORM_COUNT
} CapiFieldForm;

#define CAPI_FIELD_HASHED	0x01	/* sent as SHA-256 */
#define CAPI_FIELD_LIST		0x02	/* always sent as an array */
#define CAPI_FIELD_BARE		0x04	/* sent without quotes */
#define CAPI_FIELD_JSON		0x08	/* the value is JSON text */
#define CAPI_FIELD_PLACES	0x10	/* a list that keeps its empty places */
#define CAPI_FIELD_EMPTY	0x20	/* an empty list says something */

typedef struct CapiFieldInfo
{
	const char *name;			/* Meta's name, and the column's */
	int			name_len;
	CapiFieldGroup group;
	CapiFieldForm form;
	int			flags;
	const char *const *words;	/* the only values, in Meta's case; NULL: any */
	const char *spec;			/* section of the API's fact sheet */
} CapiFieldInfo;

/* By CapiField. */
extern const CapiFieldInfo capi_fields[CAPI_FIELD_COUNT];

/* Lists of words, ended by NULL, that members of objects take too. */
extern const char *const capi_words_delivery_category[];

/* The word of the list that equals the text but for case, or NULL. */
extern const char *capi_word_find(const char *const *words, const char *s,
								  int len);

/* Index of the field called so (case matters), or -1. */
extern int	capi_field_lookup(const char *name);

/* Index of the field that a shop calls so in its tables, or -1: for hints. */
extern int	capi_field_lookup_usual(const char *name, int len);

/* Is the field sent as an array, and may its column be one? */
extern bool capi_field_is_list(int field);

/*
 * The row of a field, never NULL for 0 .. CAPI_FIELD_COUNT - 1.  Error messages
 * that list the known names walk over that range.
 */
static inline const CapiFieldInfo *
capi_field_info(int field)
{
	Assert(field >= 0 && field < CAPI_FIELD_COUNT);
	return &capi_fields[field];
}

#endif							/* CAPI_FIELD_H */
