/*
 * member.c
 *		The tables of members (member.h).  Knows names and kinds only.
 */
#include "postgres.h"

#include "event/member.h"

#define MEMBER(n, f, ...)	{.name = n, .form = CAPI_FORM_##f, __VA_ARGS__}
#define TEXT(name)			MEMBER(name, TEXT)
#define WORDS(name)			MEMBER(name, WORDS)
#define PRODUCT_ID(name)	MEMBER(name, PRODUCT_ID)
#define OWN_ID(name)		MEMBER(name, OWN_ID)
#define DECIMAL(name)		MEMBER(name, DECIMAL, .flags = CAPI_FIELD_BARE)
#define NATURAL(name)		MEMBER(name, NATURAL, .flags = CAPI_FIELD_BARE)
#define SECONDS(name)		MEMBER(name, SECONDS, .flags = CAPI_FIELD_BARE)
#define BOOLEAN(name)		MEMBER(name, BOOLEAN, .flags = CAPI_FIELD_BARE)
#define LIST(name)			MEMBER(name, TEXT, .flags = CAPI_FIELD_LIST)
#define WORD(name, list)	MEMBER(name, TEXT, .words = list)
#define OBJECT(name, list)	MEMBER(name, OBJECT, .members = list)
/* written by the column of that name, which hoisting fills */
#define COLUMN(name)		MEMBER(name, TEXT, .flags = CAPI_MEMBER_COLUMN)
#define END					MEMBER(NULL, TEXT)

/* SPEC 4.1 */
static const CapiMember item_members[] = {
	PRODUCT_ID("id"),
	NATURAL("quantity"),
	DECIMAL("item_price"),
	WORD("delivery_category", capi_words_delivery_category),
	WORDS("title"),
	WORDS("description"),
	WORDS("brand"),
	WORDS("category"),
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
	SECONDS("event_time"),
	OWN_ID("order_id"),
	TEXT("event_id"),
	END
};

static const char *const attribution_models[] = {
	"first_touch", "last_touch", "last_click", "linear", "time_decay",
	"position_based", "customized_multi_touch", "unknown", NULL
};

/* SPEC 5 */
static const CapiMember attribution_setting_members[] = {
	NATURAL("inactivity_window_hours"),
	NATURAL("reattribution_window_hours"),
	END
};

static const CapiMember attribution_members[] = {
	TEXT("scope"),
	SECONDS("visit_time"),
	TEXT("ad_id"),
	TEXT("adset_id"),
	TEXT("campaign_id"),
	DECIMAL("attribution_share"),
	WORD("attribution_model", attribution_models),
	NATURAL("attr_window"),
	DECIMAL("attribution_value"),
	TEXT("attribution_source"),
	TEXT("touchpoint_type"),
	SECONDS("touchpoint_ts"),
	TEXT("touchpoint_id"),
	TEXT("attribution_method"),
	TEXT("decline_reason"),
	TEXT("auditing_token"),
	TEXT("linkage_key"),
	OBJECT("attribution_setting", attribution_setting_members),
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
