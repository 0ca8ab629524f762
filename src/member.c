/*
 * member.c
 *		The tables of members (member.h).  Knows names and kinds only.
 */
#include "postgres.h"

#include "member.h"

#define TEXT(name)			{name, CAPI_FORM_TEXT, 0, NULL}
#define DECIMAL(name)		{name, CAPI_FORM_DECIMAL, CAPI_FIELD_BARE, NULL}
#define INTEGER(name)		{name, CAPI_FORM_INTEGER, CAPI_FIELD_BARE, NULL}
#define BOOLEAN(name)		{name, CAPI_FORM_BOOLEAN, CAPI_FIELD_BARE, NULL}
#define LIST(name)			{name, CAPI_FORM_TEXT, CAPI_FIELD_LIST, NULL}
#define WORD(name, words)	{name, CAPI_FORM_TEXT, 0, words}
/* written by the column of that name, which hoisting fills */
#define COLUMN(name)		{name, CAPI_FORM_TEXT, CAPI_MEMBER_COLUMN, NULL}
#define END					{NULL, CAPI_FORM_TEXT, 0, NULL}

/* SPEC 4.1 */
static const CapiMember item_members[] = {
	TEXT("id"),
	INTEGER("quantity"),
	DECIMAL("item_price"),
	WORD("delivery_category", capi_words_delivery_category),
	TEXT("title"),
	TEXT("description"),
	TEXT("brand"),
	TEXT("category"),
	END
};

/* SPEC 5 */
static const CapiMember app_data_members[] = {
	COLUMN("advertiser_tracking_enabled"),
	COLUMN("application_tracking_enabled"),
	TEXT("campaign_ids"),
	BOOLEAN("consider_views"),
	COLUMN("extinfo"),
	BOOLEAN("include_dwell_data"),
	BOOLEAN("include_video_data"),
	TEXT("install_referrer"),
	TEXT("installer_package"),
	TEXT("receipt_data"),
	LIST("url_schemes"),
	TEXT("windows_attribution_id"),
	END
};

/* SPEC 2 */
static const CapiMember original_event_members[] = {
	TEXT("event_name"),
	INTEGER("event_time"),
	TEXT("order_id"),
	TEXT("event_id"),
	END
};

static const char *const attribution_models[] = {
	"first_touch", "last_touch", "last_click", "linear", "time_decay",
	"position_based", "customized_multi_touch", "unknown", NULL
};

/* SPEC 5 */
static const CapiMember attribution_members[] = {
	TEXT("scope"),
	INTEGER("visit_time"),
	TEXT("ad_id"),
	TEXT("adset_id"),
	TEXT("campaign_id"),
	DECIMAL("attribution_share"),
	WORD("attribution_model", attribution_models),
	INTEGER("attr_window"),
	DECIMAL("attribution_value"),
	TEXT("attribution_source"),
	TEXT("touchpoint_type"),
	INTEGER("touchpoint_ts"),
	TEXT("touchpoint_id"),
	TEXT("attribution_method"),
	TEXT("decline_reason"),
	TEXT("auditing_token"),
	TEXT("linkage_key"),
	{"attribution_setting", CAPI_FORM_OBJECT, CAPI_FIELD_BARE, NULL},
	DECIMAL("total_credit"),
	TEXT("partner_client_id"),
	END
};

/* SPEC 4 */
static const CapiMember store_members[] = {
	TEXT("store_page_id"),
	TEXT("brand_page_id"),
	TEXT("store_code"),
	END
};

const CapiMember *
capi_member_list(int field)
{
	switch (field)
	{
		case CAPI_FIELD_CONTENTS:
			return item_members;
		case CAPI_FIELD_APP_DATA:
			return app_data_members;
		case CAPI_FIELD_ORIGINAL_EVENT_DATA:
			return original_event_members;
		case CAPI_FIELD_ATTRIBUTION_DATA:
			return attribution_members;
		case CAPI_FIELD_STORE_DATA:
			return store_members;
		default:
			return NULL;
	}
}

const CapiMember *
capi_member_find(const CapiMember *list, const char *name, int len)
{
	for (; list->name != NULL; list++)
		if ((int) strlen(list->name) == len && memcmp(list->name, name, len) == 0)
			return list;
	return NULL;
}
