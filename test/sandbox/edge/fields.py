"""Which members exist, of what kind, with which fixed values (SPEC 1.2 - 5).

Data only.  Used by schema, rules and batch.
"""

from .kinds import (
    Items, Members, a_boolean, a_boolean_or_flag, a_count, a_currency,
    a_filled_string, a_flag, a_list_of_strings, a_number,
    a_number_or_its_text, a_partner_agent, a_share, a_string,
    a_string_or_number, an_int64, an_integer, one_of, strings)

# --- fixed values ---------------------------------------------------------

ACTION_SOURCES = frozenset((          # SPEC 2.1
    "email", "website", "app", "phone_call", "chat", "physical_store",
    "system_generated", "business_messaging", "other"))

STANDARD_EVENTS = frozenset((         # SPEC 2.2
    "AddPaymentInfo", "AddToCart", "AddToWishlist", "CompleteRegistration",
    "Contact", "CustomizeProduct", "Donate", "FindLocation",
    "InitiateCheckout", "Lead", "Purchase", "Schedule", "Search",
    "StartTrial", "SubmitApplication", "Subscribe", "ViewContent",
    "PageView", "AppendValue"))
MESSAGING_EVENTS = STANDARD_EVENTS | {"LeadSubmitted", "QualifiedLead"}

DELIVERY_CATEGORIES = frozenset(("in_store", "curbside", "home_delivery"))
CONTENT_TYPES = frozenset(("product", "product_group"))        # SPEC 4
MESSAGING_CHANNELS = frozenset(("whatsapp", "messenger", "instagram"))
LDU_COUNTRIES = frozenset((0, 1))                              # SPEC 2
LDU_STATES = frozenset([0] + list(range(1000, 1014)))
CUSTOMER_SEGMENTS = frozenset(                                 # SPEC 2
    ["customer_in_loyalty_program"]
    + [who + "_customer_to_" + what
       for who in ("new", "existing")
       for what in ("business", "business_line", "product_area", "medium")])
ATTRIBUTION_MODELS = frozenset((                               # SPEC 5
    "first_touch", "last_touch", "last_click", "linear", "time_decay",
    "position_based", "customized_multi_touch", "unknown"))

# --- customer data --------------------------------------------------------

# Must be SHA-256, may be lists, may carry an appendix (SPEC 3.2, 3.4).
HASHED_LISTS = frozenset((
    "em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country"))
# Must be SHA-256, one string (SPEC 3.2).
HASHED_STRINGS = frozenset((
    "app_user_id", "f5first", "f5last", "fi", "dobd", "dobm", "doby"))
# Known to libraries and senders, absent from the page (SPEC 3.2).
UNDOCUMENTED = HASHED_STRINGS | {"partner_id", "partner_name"}

USER_DATA = {                         # SPEC 3.2
    "external_id": strings,
    "fb_login_id": a_count,
    "lead_id": an_integer,
}
USER_DATA.update((name, strings) for name in HASHED_LISTS)
USER_DATA.update((name, a_string) for name in HASHED_STRINGS)
USER_DATA.update((name, a_string) for name in (
    "client_ip_address", "client_user_agent", "fbc", "fbp",
    "subscription_id", "madid", "anon_id", "page_id",
    "page_scoped_user_id", "ctwa_clid", "ig_account_id", "ig_sid",
    "whatsapp_business_account_id", "partner_id", "partner_name"))

# ISO 3166-1 alpha-2, as country is hashed (SPEC 3.2).
COUNTRIES = tuple("""
ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl
bm bn bo bq br bs bt bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv
cw cx cy cz de dj dk dm do dz ec ee eg eh er es et fi fj fk fm fo fr ga gb gd
ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im
in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk
lr ls lt lu lv ly ma mc md me mf mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw
mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr
ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss
st sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug um us uy
uz va vc ve vg vi vn vu wf ws ye yt za zm zw
""".split())

# Too thin when everything an event carries fits inside one (SPEC 3.1).
THIN_SETS = (
    frozenset(("ct", "country", "st", "zp", "ge", "client_user_agent")),
    frozenset(("db", "client_user_agent")),
    frozenset(("fn", "ge")),
    frozenset(("ln", "ge")),
)

# --- what was bought ------------------------------------------------------

CONTENTS_ITEM = {                     # SPEC 4.1
    "id": a_string,
    "quantity": a_count,
    "item_price": a_number,
    "delivery_category": one_of(DELIVERY_CATEGORIES),
    "title": a_string,
    "description": a_string,
    "brand": a_string,
    "category": a_string,
    "price": a_number,                # physical_store only, see schema
}

STORE_DATA = {                        # SPEC 4; kinds: choice
    "store_page_id": a_string_or_number,
    "brand_page_id": a_string_or_number,
    "store_code": a_string_or_number,
}

CUSTOM_DATA = {                       # SPEC 4; any other key is free
    "value": a_number_or_its_text,
    "currency": a_currency,
    "content_ids": a_list_of_strings,
    "contents": Items(CONTENTS_ITEM),
    "content_type": a_string,
    "content_name": a_string,
    "content_category": a_string,
    "order_id": a_string,
    "num_items": a_count,
    "search_string": a_string,
    "status": a_string,
    "predicted_ltv": a_number,
    "net_revenue": a_number,
    "delivery_category": one_of(DELIVERY_CATEGORIES),
    "item_number": a_string,
    "store_data": Members(STORE_DATA),
    "customer_segmentation": one_of(CUSTOMER_SEGMENTS),
}

# Names that do not belong in custom_data (SPEC 4.1, last paragraph).
PERSONAL_KEYS = frozenset((
    "email", "e_mail", "em", "phone", "ph", "first_name", "firstname",
    "last_name", "lastname", "fn", "ln", "full_name", "customer_name",
    "address", "street", "birthday", "date_of_birth", "password"))

# --- other objects --------------------------------------------------------

APP_DATA = {                          # SPEC 5; kinds but the flags': choice
    "advertiser_tracking_enabled": a_flag,
    "application_tracking_enabled": a_flag,
    "campaign_ids": strings,
    "consider_views": a_boolean_or_flag,
    "extinfo": a_list_of_strings,
    "include_dwell_data": a_boolean_or_flag,
    "include_video_data": a_boolean_or_flag,
    "install_referrer": a_string,
    "installer_package": a_string,
    "receipt_data": a_string,
    "url_schemes": strings,
    "windows_attribution_id": a_string,
}

ORIGINAL_EVENT_DATA = {               # SPEC 2
    "event_name": a_filled_string,
    "event_time": an_integer,
    "order_id": a_string,
    "event_id": a_string,
}

ATTRIBUTION_DATA = {                  # SPEC 5; kinds not told there: choice
    "scope": a_string,
    "visit_time": an_int64,
    "ad_id": a_string,
    "adset_id": a_string,
    "campaign_id": a_string,
    "attribution_share": a_share,
    "attribution_model": one_of(ATTRIBUTION_MODELS),
    "attr_window": a_count,
    "attribution_value": a_number,
    "attribution_source": a_string,
    "touchpoint_type": a_string,
    "touchpoint_ts": an_int64,
    "touchpoint_id": a_string_or_number,
    "attribution_method": a_string,
    "decline_reason": a_string,
    "auditing_token": a_string,
    "linkage_key": a_string,
    "attribution_setting": Members({
        "inactivity_window_hours": a_number,
        "reattribution_window_hours": a_number,
    }),
    "total_credit": a_string_or_number,
    "partner_client_id": a_string_or_number,
}

# --- event and request ----------------------------------------------------

EVENT = {                             # SPEC 2
    "event_name": a_filled_string,
    "event_time": an_integer,
    "user_data": Members(USER_DATA),
    "action_source": one_of(ACTION_SOURCES),
    "event_id": a_string,
    "event_source_url": a_string,
    "referrer_url": a_string,
    "custom_data": Members(CUSTOM_DATA, free=True),
    "opt_out": a_boolean,
    "data_processing_options": a_list_of_strings,
    "data_processing_options_country": an_integer,
    "data_processing_options_state": an_integer,
    "app_data": Members(APP_DATA),
    "original_event_data": Members(ORIGINAL_EVENT_DATA),
    "attribution_data": Members(ATTRIBUTION_DATA),
    "messaging_channel": one_of(MESSAGING_CHANNELS),
    "customer_segmentation": one_of(CUSTOMER_SEGMENTS),
    "advanced_measurement_table": a_string,
}
EVENT_REQUIRED = ("event_name", "event_time", "user_data", "action_source")

REQUEST = {                           # SPEC 1.2
    "data": None,                     # checked by batch
    "access_token": a_string,
    "appsecret_proof": a_string,
    "test_event_code": a_filled_string,
    "partner_agent": a_partner_agent,
    "namespace_id": a_string,
    "upload_id": a_string,
    "upload_tag": a_string,
    "upload_source": a_string,
    "platforms": Items({"name": a_string, "type": a_string,
                        "version": a_string}),
    "progress": Members({"start_inclusive": an_int64,
                         "end_exclusive": an_int64}),
    "trace": a_count,
}
