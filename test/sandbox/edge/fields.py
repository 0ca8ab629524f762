"""Which fields exist, of what type, with which fixed values (SPEC 1.2 - 5).

Data only, plus the small type checks the tables need.  Used by rules and
batch.  A type check takes a value and returns None or what is wrong; it never
quotes the value, which may be personal data.
"""

import math
import re

ACTION_SOURCES = frozenset((          # SPEC 2.1
    "email", "website", "app", "phone_call", "chat", "physical_store",
    "system_generated", "business_messaging", "other"))

STANDARD_EVENTS = frozenset((         # SPEC 2.2
    "AddPaymentInfo", "AddToCart", "AddToWishlist", "CompleteRegistration",
    "Contact", "CustomizeProduct", "Donate", "FindLocation",
    "InitiateCheckout", "Lead", "Purchase", "Schedule", "Search",
    "StartTrial", "SubmitApplication", "Subscribe", "ViewContent",
    "PageView", "LeadSubmitted", "QualifiedLead", "AppendValue"))

DELIVERY_CATEGORIES = frozenset(("in_store", "curbside", "home_delivery"))
MESSAGING_CHANNELS = frozenset(("whatsapp", "messenger", "instagram"))
LDU_STATES = frozenset([0] + list(range(1000, 1014)))          # SPEC 2
CUSTOMER_SEGMENTS = frozenset(                                 # SPEC 2
    ["customer_in_loyalty_program"]
    + [who + "_customer_to_" + what
       for who in ("new", "existing")
       for what in ("business", "business_line", "product_area", "medium")])

# ISO 4217 (SPEC 4), with codes withdrawn in recent years.
CURRENCIES = frozenset("""
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB
BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC
CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF
GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR
KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP
MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD
SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI
UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL
""".split())

# --- type checks ----------------------------------------------------------

NUMERIC_TEXT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


def a_string(value):
    return None if type(value) is str else "must be a string"


def a_filled_string(value):
    if type(value) is str and value:
        return None
    return "must be a string that is not empty"


def an_integer(value):
    return None if type(value) is int else "must be an integer"


def a_count(value):
    if type(value) is int and value >= 0:
        return None
    return "must be an integer of zero or more"


def a_boolean(value):
    return None if type(value) is bool else "must be true or false"


def a_flag(value):
    """0 or 1; a boolean says the same (SPEC 5)."""
    return None if value in (0, 1) and type(value) in (int, bool) \
        else "must be 0 or 1"


def a_number(value):
    if type(value) is int or type(value) is float and math.isfinite(value):
        return None
    return "must be a number"


def a_monetary_value(value):
    """A number; numeric text is in Meta's examples too (SPEC 4)."""
    if type(value) is str and NUMERIC_TEXT.fullmatch(value):
        return None
    return a_number(value)


def an_object(value):
    return None if type(value) is dict else "must be an object"


def a_list(value):
    return None if type(value) is list else "must be an array"


def a_list_of_strings(value):
    if type(value) is list and all(type(item) is str for item in value):
        return None
    return "must be an array of strings"


def strings(value):
    """A string or a list of strings (SPEC 3.2, the eleven)."""
    if type(value) is str:
        return None
    if type(value) is list and all(type(item) is str for item in value):
        return None
    return "must be a string or an array of strings"


def an_id(value):
    """An integer, or its digits as text (SPEC 3.2; text is a choice)."""
    if type(value) is int and value >= 0 or type(value) is str:
        return None
    return "must be an integer"


def one_of(allowed):
    """Make a check for a fixed list of texts, case-sensitive."""
    words = ", ".join(sorted(allowed))

    def check(value):
        if type(value) is str and value in allowed:
            return None
        return "must be one of: " + words
    return check


def a_currency(value):
    """Both letter cases are taken (SPEC 3.5, currency)."""
    if type(value) is str and value.upper() in CURRENCIES \
            and len(value) == 3 and value.isascii():
        return None
    return "must be an ISO 4217 currency code"


def a_partner_agent(value):
    """Shorter than 23 characters, two letters or more (SPEC 1.2)."""
    if type(value) is str and len(value) < 23 \
            and sum(char.isalpha() for char in value) >= 2:
        return None
    return "must be a string of less than 23 characters with two letters"


# --- tables ---------------------------------------------------------------

TOP_LEVEL = {                         # SPEC 1.2
    "data": None,                     # checked by batch
    "access_token": a_string,
    "appsecret_proof": a_string,
    "test_event_code": a_filled_string,
    "partner_agent": a_partner_agent,
    "namespace_id": an_id,
    "upload_id": an_id,
    "upload_tag": a_string,
    "upload_source": a_string,
    "platforms": a_list,
    "progress": an_object,
    "trace": a_count,
}

EVENT = {                             # SPEC 2
    "event_name": a_filled_string,
    "event_time": an_integer,
    "user_data": an_object,
    "action_source": one_of(ACTION_SOURCES),
    "event_id": a_string,
    "event_source_url": a_string,
    "referrer_url": a_string,
    "custom_data": an_object,
    "opt_out": a_boolean,
    "data_processing_options": a_list_of_strings,
    "data_processing_options_country": an_integer,
    "data_processing_options_state": an_integer,
    "app_data": an_object,
    "original_event_data": an_object,
    "attribution_data": an_object,
    "messaging_channel": one_of(MESSAGING_CHANNELS),
    "customer_segmentation": one_of(CUSTOMER_SEGMENTS),
    "advanced_measurement_table": a_string,
}
EVENT_REQUIRED = ("event_name", "event_time", "user_data", "action_source")

# Must be SHA-256, may be lists, may carry an appendix (SPEC 3.2, 3.4).
HASHED_LISTS = frozenset((
    "em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country"))
# Must be SHA-256, one string (SPEC 3.2).
HASHED_STRINGS = frozenset((
    "app_user_id", "f5first", "f5last", "fi", "dobd", "dobm", "doby"))

USER_DATA = {                         # SPEC 3.2
    "external_id": strings,
    "fb_login_id": an_id,
    "lead_id": an_id,
}
USER_DATA.update((name, strings) for name in HASHED_LISTS)
USER_DATA.update((name, a_string) for name in HASHED_STRINGS)
USER_DATA.update((name, a_string) for name in (
    "client_ip_address", "client_user_agent", "fbc", "fbp",
    "subscription_id", "madid", "anon_id", "page_scoped_user_id",
    "ctwa_clid", "ig_sid", "partner_id", "partner_name"))
USER_DATA.update((name, an_id) for name in (
    "page_id", "ig_account_id", "whatsapp_business_account_id"))

# Too thin when everything an event carries fits inside one (SPEC 3.1).
THIN_SETS = (
    frozenset(("ct", "country", "st", "zp", "ge", "client_user_agent")),
    frozenset(("db", "client_user_agent")),
    frozenset(("fn", "ge")),
    frozenset(("ln", "ge")),
)

CUSTOM_DATA = {                       # SPEC 4; any other key is free
    "value": a_monetary_value,
    "currency": a_currency,
    "content_ids": a_list_of_strings,
    "contents": a_list,
    "content_type": a_string,
    "content_name": a_string,
    "content_category": a_string,
    "order_id": a_string,
    "num_items": a_count,
    "search_string": a_string,
    "status": a_string,
    "predicted_ltv": a_monetary_value,
    "net_revenue": a_monetary_value,
    "delivery_category": one_of(DELIVERY_CATEGORIES),
    "item_number": a_string,
    "store_data": an_object,
    "customer_segmentation": one_of(CUSTOMER_SEGMENTS),
}

CONTENTS_ITEM = {                     # SPEC 4.1
    "id": a_string,
    "quantity": a_count,
    "item_price": a_number,
    "delivery_category": one_of(DELIVERY_CATEGORIES),
    "title": a_string,
    "description": a_string,
    "brand": a_string,
    "category": a_string,
}
CONTENTS_ITEM_OFFLINE = dict(CONTENTS_ITEM, price=a_number)

# Known members of nested objects.  Whether Meta refuses others is not known
# (SPEC 1.3 speaks of events and contents only), so others are a warning.
APP_DATA = {                          # SPEC 5
    "advertiser_tracking_enabled": a_flag,
    "application_tracking_enabled": a_flag,
    "campaign_ids": None,
    "consider_views": a_boolean,
    "extinfo": a_list,
    "include_dwell_data": a_boolean,
    "include_video_data": a_boolean,
    "install_referrer": a_string,
    "installer_package": a_string,
    "receipt_data": a_string,
    "url_schemes": a_list,
    "windows_attribution_id": a_string,
}
ORIGINAL_EVENT_DATA = {               # SPEC 2
    "event_name": a_string,
    "event_time": an_integer,
    "order_id": a_string,
    "event_id": a_string,
}

# Names that do not belong in custom_data (SPEC 4.1, last paragraph).
PERSONAL_KEYS = frozenset((
    "email", "e_mail", "em", "phone", "ph", "first_name", "firstname",
    "last_name", "lastname", "fn", "ln", "full_name", "customer_name",
    "address", "street", "birthday", "date_of_birth", "password"))
