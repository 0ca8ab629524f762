"""What the values of one event mean: every subcode but 2804019.

check_event() refuses by raising MetaError, and adds to a set of warnings what
Meta takes although it is wrong or useless (SPEC 1.3, 2.1, 3, 4).  The event's
schema has been checked.  Keeps nothing, knows nothing of HTTP.  Called by
batch.
"""

import functools
import hashlib
import re
import time

from . import errors
from . import fields
from .errors import event_error
from .schema import address_of

MAX_AGE_S = 7 * 86400                 # SPEC 1.3
MAX_AGE_PHYSICAL_STORE_S = 62 * 86400
FUTURE_TOLERANCE_S = 60               # SPEC 1.3: undocumented; choice

SHA256 = re.compile(r"[0-9a-f]{64}")
# SPEC 3.4: hash, dot, eight base64url characters
SHA256_APPENDIX = re.compile(r"[0-9a-f]{64}(\.[A-Za-z0-9_-]{8})?")
EMPTY_SHA256 = ("e3b0c44298fc1c149afbf4c8996fb924"
                "27ae41e4649b934ca495991b7852b855")
# SPEC 3.2: fb.{subdomain index}.{ms}.{fbclid or random}, and perhaps an
# appendix of 2 or 8; all in the alphabet of base64url
BROWSER_ID = re.compile(r"fb\.[0-9]\.[0-9]{13}\.[A-Za-z0-9_-]+"
                        r"(\.([A-Za-z0-9_-]{2}|[A-Za-z0-9_-]{8}))?")
BROWSER_IDS = ("fbc", "fbp")
STANDARD_IN_LOWER_CASE = frozenset(name.lower()
                                   for name in fields.MESSAGING_EVENTS)
# Of these so few values are right that a hash tells whether it is of one.
FEW_VALUES = {"ge": "hash_of_no_gender", "db": "hash_of_no_date",
              "country": "hash_of_no_country"}


def check_event(event, index, now, warnings):
    check_time(event, index, now, warnings)
    check_user_data(event["user_data"], index, warnings)
    check_action_source(event, index, warnings)
    check_value(event, index, warnings)
    note_oddities(event, warnings)


# --- time -----------------------------------------------------------------

def check_time(event, index, now, warnings):
    """SPEC 1.3.  Milliseconds land far in the future (SPEC 2)."""
    when = event["event_time"]
    if when > now + FUTURE_TOLERANCE_S:
        why = "event_time is in the future"
        if when >= 10 ** 12:
            why += "; it must be in seconds, not milliseconds"
        raise event_error(errors.IN_FUTURE, index, why)
    oldest = now - MAX_AGE_S
    if event["action_source"] == "physical_store":
        oldest = now - MAX_AGE_PHYSICAL_STORE_S
    if when < oldest:
        raise event_error(errors.TOO_OLD, index, "event_time is too old")
    if when < now - 86400:
        warnings.add("more_than_24_hours_late")
    elif when < now - 7200:
        warnings.add("more_than_2_hours_late")


# --- customer data --------------------------------------------------------

def check_user_data(user_data, index, warnings):
    """SPEC 3.1 to 3.4."""
    carried = set()
    for name, value in user_data.items():
        values = value if type(value) is list else (value,)
        if name in fields.HASHED_LISTS:
            check_hashes(name, values, SHA256_APPENDIX, index, warnings)
        elif name in fields.HASHED_STRINGS:
            check_hashes(name, values, SHA256, index, warnings)
        else:
            check_plain(name, values, index, warnings)
        if name in fields.UNDOCUMENTED:
            warnings.add("undocumented_user_data_key")
        # an empty list or text says nothing (SPEC 2: "valid parameter")
        if any(item != "" for item in values):
            carried.add(name)
    if not carried or any(carried <= thin for thin in fields.THIN_SETS):
        raise event_error(errors.TOO_LITTLE_CUSTOMER_DATA, index,
                          "user_data has too little customer information")


def check_hashes(name, values, pattern, index, warnings):
    for text in values:
        if not pattern.fullmatch(text):
            raise event_error(
                errors.NOT_HASHED, index,
                "user_data parameter %s must be hashed with SHA-256" % name)
        if text.startswith(EMPTY_SHA256):
            warnings.add("hash_of_empty_text")
        if len(text) > 64:
            warnings.add("hash_with_appendix")
        if name in FEW_VALUES and text[:64] not in right_hashes(name):
            warnings.add(FEW_VALUES[name])


@functools.lru_cache(None)
def right_hashes(name):
    """Of all that a field may say in normal form (SPEC 3.2)."""
    if name == "ge":
        texts = ("f", "m")
    elif name == "country":
        texts = fields.COUNTRIES
    else:
        texts = ("%d%02d%02d" % (year, month, day)
                 for year in range(1900, time.gmtime().tm_year + 1)
                 for month in range(1, 13) for day in range(1, 32))
    return frozenset(hashlib.sha256(text.encode()).hexdigest()
                     for text in texts)


def check_plain(name, values, index, warnings):
    """The fields that need no hash (SPEC 3.2)."""
    if name == "external_id":
        # Hashing is advised only: several Meta libraries send it raw.
        if not all(SHA256_APPENDIX.fullmatch(text) for text in values):
            warnings.add("external_id_not_hashed")
    elif name in BROWSER_IDS:
        # For fbp the form is documented, a refusal is not on record.
        if not BROWSER_ID.fullmatch(values[0]):
            raise event_error(errors.BAD_BROWSER_ID, index,
                              "%s is malformed" % name)
    elif name == "lead_id":
        if values[0] <= 0:
            raise event_error(errors.BAD_LEAD_ID, index,
                              "lead_id is not valid")
    elif values[0] == "":
        warnings.add("empty_user_data_text")
    elif name == "client_ip_address":
        if not address_of(values[0]).is_global:
            warnings.add("client_ip_address_not_public")
    elif type(values[0]) is str and SHA256.fullmatch(values[0]):
        warnings.add("hashed_what_is_sent_plain")


# --- action source --------------------------------------------------------

def check_action_source(event, index, warnings):
    """What each action_source must carry (SPEC 2.1, 5)."""
    source = event["action_source"]
    if source == "website":
        note_website(event, warnings)
    elif source == "business_messaging":
        check_messaging(event, index, warnings)
    elif source == "app" and "extinfo" not in event["app_data"]:
        raise event_error(errors.BAD_EXTINFO, index,
                          "extinfo is required for app events")
    if "extinfo" in event.get("app_data", ()):
        check_extinfo(event["app_data"]["extinfo"], index)


def note_website(event, warnings):
    """Documented as required, not enforced (SPEC 2.1): warnings."""
    if not event["user_data"].get("client_user_agent"):
        warnings.add("website_without_client_user_agent")
    url = event.get("event_source_url")
    if not url:
        warnings.add("website_without_event_source_url")
    elif not url.startswith(("http://", "https://")):
        warnings.add("event_source_url_without_http")


def check_extinfo(extinfo, index):
    """SPEC 5: 16 positions, platform and OS version filled."""
    if len(extinfo) != 16 or extinfo[0] not in ("a2", "i2") \
            or not extinfo[4].strip():
        raise event_error(
            errors.BAD_EXTINFO, index,
            "extinfo needs 16 items, a2 or i2 first, an OS version fifth")


def check_messaging(event, index, warnings):
    """SPEC 2.1 and the messaging subcodes of 8.4.

    Which id goes with which channel is not told there: choice.
    """
    if event["event_name"] not in fields.MESSAGING_EVENTS:
        raise event_error(errors.MESSAGING_EVENT_NAME, index,
                          "event_name is not one for messaging")
    if event["event_name"] == "QualifiedLead":
        warnings.add("qualified_lead")        # SPEC 2.2: some datasets refuse
    user_data = event["user_data"]

    def is_id(name):
        text = user_data.get(name, "")
        return text.isascii() and text.isdecimal()

    channel = event["messaging_channel"]
    if channel == "messenger":
        if not is_id("page_id"):
            raise event_error(errors.MESSAGING_PAGE_ID, index,
                              "page_id is missing or not valid")
    elif channel == "instagram":
        if not is_id("ig_account_id"):
            raise event_error(errors.MESSAGING_IG_ACCOUNT_ID, index,
                              "ig_account_id is missing or not valid")
    elif not is_id("page_id") and not is_id("whatsapp_business_account_id"):
        raise event_error(errors.MESSAGING_WITHOUT_ID, index,
                          "page or business account id is missing")
    elif not user_data.get("ctwa_clid"):
        raise event_error(errors.MESSAGING_CTWA_CLID, index,
                          "ctwa_clid is missing")


# --- value, and the rest --------------------------------------------------

def check_value(event, index, warnings):
    """SPEC 2.3 and 4."""
    custom = event.get("custom_data", {})
    value = custom.get("value")
    if value is None:
        if event["event_name"] == "Purchase":
            raise event_error(errors.PURCHASE_WITHOUT_VALUE, index,
                              "a Purchase needs custom_data.value")
        return
    if "currency" not in custom:
        if event["event_name"] == "Purchase":
            raise event_error(errors.PURCHASE_WITHOUT_CURRENCY, index,
                              "a Purchase needs custom_data.currency")
        raise event_error(errors.VALUE_WITHOUT_CURRENCY, index,
                          "a value needs custom_data.currency")
    if float(value) < 0:
        warnings.add("negative_value")


def note_oddities(event, warnings):
    """What is taken and is likely not meant."""
    custom = event.get("custom_data", {})
    if not event.get("event_id"):
        warnings.add("no_event_id")
    if event["event_name"] not in fields.MESSAGING_EVENTS:
        warnings.add("event_name_in_another_case"
                     if event["event_name"].lower() in STANDARD_IN_LOWER_CASE
                     else "custom_event_name")
    if custom.get("content_type", "product") not in fields.CONTENT_TYPES:
        warnings.add("unusual_content_type")
    if any("id" not in item for item in custom.get("contents", ())):
        warnings.add("contents_item_without_id")
    if any(name.lower() in fields.PERSONAL_KEYS for name in custom
           if name not in fields.CUSTOM_DATA):
        warnings.add("personal_key_in_custom_data")
    if event["action_source"] != "physical_store" and (
            "store_data" in custom or "item_number" in custom):
        warnings.add("offline_key_outside_a_store")
    if event.get("data_processing_options_country") is not None \
            and not event.get("data_processing_options"):
        warnings.add("place_without_limited_data_use")
