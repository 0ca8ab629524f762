"""Whether the events of one request are acceptable.

check_events() refuses by raising MetaError, else returns warnings: things
Meta takes although they are wrong or useless (SPEC 2.1, 3.1, 6).  It keeps
nothing and knows nothing of HTTP.  Called by batch.

Order (choice): the schema of every event first (2804019, whose text names
the event), then the meaning of each event in order (all other subcodes,
whose texts do not say which event it was).
"""

import ipaddress
import re

from . import errors
from . import fields
from .errors import event_error, schema_error

MAX_AGE_S = 7 * 86400                 # SPEC 1.3
MAX_AGE_PHYSICAL_STORE_S = 62 * 86400
FUTURE_TOLERANCE_S = 60               # SPEC 1.3: undocumented; choice

SHA256 = re.compile(r"[0-9a-f]{64}")
# SPEC 3.4: hash, dot, eight base64url characters
SHA256_APPENDIX = re.compile(r"[0-9a-f]{64}(\.[A-Za-z0-9_-]{8})?")
EMPTY_SHA256 = ("e3b0c44298fc1c149afbf4c8996fb924"
                "27ae41e4649b934ca495991b7852b855")
# SPEC 3.2: fb.{subdomain index}.{ms}.{fbclid}[.{appendix of 2 or 8}]
FBC = re.compile(r"fb\.[0-9]\.[0-9]{13}\.[A-Za-z0-9_-]+"
                 r"(\.([A-Za-z0-9_-]{2}|[A-Za-z0-9_-]{8}))?")
FBP = re.compile(r"fb\.[0-9]\.[0-9]{10,13}\.[A-Za-z0-9_-]+"
                 r"(\.([A-Za-z0-9_-]{2}|[A-Za-z0-9_-]{8}))?")


class Warnings(dict):
    """Warning name -> how many events have it."""

    def add(self, name):
        self[name] = self.get(name, 0) + 1


def check_events(events, now):
    """Raise MetaError for the first bad event, or return Warnings."""
    warnings = Warnings()
    for index, event in enumerate(events):
        check_schema(event, ("data", index), warnings)
    for index, event in enumerate(events):
        check_meaning(event, index, now, warnings)
    return warnings


# --- schema: 2804019 ------------------------------------------------------

def check_schema(event, path, warnings):
    """Keys and types of one event (SPEC 1.3, 2, 3.2, 4, 4.1, 5)."""
    if type(event) is not dict:
        raise schema_error(path, "must be an object")
    check_members(event, fields.EVENT, path)
    for name in fields.EVENT_REQUIRED:
        if name not in event:
            raise schema_error(path + (name,), "is required")
    # Choice: unknown user_data keys are refused like those of the event; a
    # key such as "email" would carry a value in clear.
    check_members(event["user_data"], fields.USER_DATA,
                  path + ("user_data",))
    check_client_ip(event["user_data"], path)
    if "custom_data" in event:
        check_custom_data(event, path + ("custom_data",), warnings)
    check_data_processing(event, path)
    if "app_data" in event:
        check_members(event["app_data"], fields.APP_DATA,
                      path + ("app_data",), warnings)
    if "original_event_data" in event:
        check_members(event["original_event_data"],
                      fields.ORIGINAL_EVENT_DATA,
                      path + ("original_event_data",), warnings)


def check_members(members, table, path, warnings=None):
    """Types by table; an unknown key is refused, or warned about when a
    Warnings is given."""
    for name, value in members.items():
        if name not in table:
            if warnings is None:
                raise schema_error(path + (name,), "is not a known key")
            warnings.add("unknown_key_in_" + path[-1])
            continue
        check = table[name]
        wrong = check(value) if check else None
        if wrong:
            raise schema_error(path + (name,), wrong)


def check_client_ip(user_data, path):
    """SPEC 3.2: valid IPv4 or IPv6, no spaces.  Subcode: choice."""
    address = user_data.get("client_ip_address")
    if address is None:
        return
    try:
        if "%" in address or "/" in address:
            raise ValueError
        ipaddress.ip_address(address)
    except ValueError:
        raise schema_error(path + ("user_data", "client_ip_address"),
                           "must be an IPv4 or IPv6 address") from None


def check_custom_data(event, path, warnings):
    """SPEC 4: known keys have types, any other key is free."""
    custom = event["custom_data"]
    for name, value in custom.items():
        check = fields.CUSTOM_DATA.get(name)
        if check is None:
            if name.lower() in fields.PERSONAL_KEYS:
                warnings.add("personal_key_in_custom_data")
            continue
        wrong = check(value)
        if wrong:
            raise schema_error(path + (name,), wrong)
    offline = event.get("action_source") == "physical_store"
    # SPEC 4.1: price belongs to offline items; id and quantity required there
    table = fields.CONTENTS_ITEM_OFFLINE if offline else fields.CONTENTS_ITEM
    for number, item in enumerate(custom.get("contents", ())):
        item_path = path + ("contents", number)
        if type(item) is not dict:
            raise schema_error(item_path, "must be an object")
        check_members(item, table, item_path)
        if offline:
            for name in ("id", "quantity"):
                if name not in item:
                    raise schema_error(item_path + (name,), "is required")
        elif "id" not in item:
            warnings.add("contents_item_without_id")
    if custom.get("content_type", "product") not in ("product",
                                                     "product_group"):
        warnings.add("unusual_content_type")


def check_data_processing(event, path):
    """SPEC 2: ["LDU"] or []; LDU wants country and state."""
    options = event.get("data_processing_options")
    if options is None:
        return
    if options not in ([], ["LDU"]):
        raise schema_error(path + ("data_processing_options",),
                           'must be [] or ["LDU"]')
    if not options:
        return
    for name, allowed in (("data_processing_options_country", (0, 1)),
                          ("data_processing_options_state",
                           fields.LDU_STATES)):
        if name not in event:
            raise schema_error(path + (name,), "is required with LDU")
        if event[name] not in allowed:
            raise schema_error(path + (name,), "is not a known place")


# --- meaning: every other subcode -----------------------------------------

def check_meaning(event, index, now, warnings):
    """Rules on the values of one event whose schema is right."""
    check_time(event, index, now)
    check_user_data(event["user_data"], index, warnings)
    check_action_source(event, index, warnings)
    check_value(event, index, warnings)
    if not event.get("event_id"):
        warnings.add("no_event_id")
    if event["event_name"] not in fields.STANDARD_EVENTS:
        warnings.add("custom_event_name")


def check_time(event, index, now):
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


def check_user_data(user_data, index, warnings):
    """SPEC 3.1 to 3.4."""
    carried = set()
    for name, value in user_data.items():
        values = value if type(value) is list else (value,)
        if not values:
            continue                  # an empty list carries nothing
        carried.add(name)
        if name in fields.HASHED_LISTS:
            pattern = SHA256_APPENDIX
        elif name in fields.HASHED_STRINGS:
            pattern = SHA256
        else:
            check_plain(name, values, index, warnings)
            continue
        for text in values:
            if not pattern.fullmatch(text):
                raise event_error(
                    errors.NOT_HASHED, index,
                    "user_data parameter %s must be hashed with SHA-256"
                    % name)
            if text.startswith(EMPTY_SHA256):
                warnings.add("hash_of_empty_text")
    if not carried or any(carried <= thin for thin in fields.THIN_SETS):
        raise event_error(errors.TOO_LITTLE_CUSTOMER_DATA, index,
                          "user_data has too little customer information")


def check_plain(name, values, index, warnings):
    """Rules of the user_data fields that are never hashed (SPEC 3.2)."""
    if name == "external_id":
        # Hashing is advised only: several Meta libraries send it raw.
        if not all(SHA256_APPENDIX.fullmatch(text) for text in values):
            warnings.add("external_id_not_hashed")
    elif name == "fbc":
        if not FBC.fullmatch(values[0]):
            raise event_error(errors.BAD_FBC, index, "fbc is malformed")
    elif name == "fbp":
        # Choice: the form is documented, a refusal is not on record; so the
        # pattern is loose and the subcode that of the schema.
        if not FBP.fullmatch(values[0]):
            raise schema_error(("data", index, "user_data", "fbp"),
                               "must look like fb.1.<ms>.<random>")
    elif name == "lead_id":
        if type(values[0]) is str and not values[0].isdecimal():
            raise event_error(errors.BAD_LEAD_ID, index,
                              "lead_id is not valid")
    elif values[0] == "":
        warnings.add("empty_user_data_text")


def check_action_source(event, index, warnings):
    """What each action_source must carry (SPEC 2.1, 5)."""
    source = event["action_source"]
    user_data = event["user_data"]
    if source == "website":
        # Documented as required, not enforced (SPEC 2.1): warnings.
        if not user_data.get("client_user_agent"):
            warnings.add("website_without_client_user_agent")
        url = event.get("event_source_url")
        if not url:
            warnings.add("website_without_event_source_url")
        elif not url.startswith(("http://", "https://")):
            warnings.add("event_source_url_without_http")
    elif source == "app":
        app = event.get("app_data", {})
        for name in ("advertiser_tracking_enabled",
                     "application_tracking_enabled"):
            if name not in app:
                raise schema_error(("data", index, "app_data", name),
                                   "is required for app events")
        if "extinfo" not in app:
            raise event_error(errors.BAD_EXTINFO, index,
                              "extinfo is required for app events")
    elif source == "business_messaging":
        if "messaging_channel" not in event:
            raise schema_error(("data", index, "messaging_channel"),
                               "is required for business_messaging events")
        if not any(name in user_data for name in (
                "page_id", "whatsapp_business_account_id",
                "ig_account_id")):
            raise event_error(errors.MESSAGING_WITHOUT_ID, index,
                              "page or business account id is missing")
    if "extinfo" in event.get("app_data", ()):
        check_extinfo(event["app_data"]["extinfo"], index)


def check_extinfo(extinfo, index):
    """SPEC 5: 16 positions, platform and OS version filled."""
    if len(extinfo) != 16 or extinfo[0] not in ("a2", "i2") \
            or not str(extinfo[4]).strip():
        raise event_error(
            errors.BAD_EXTINFO, index,
            "extinfo needs 16 items, a2 or i2 first, an OS version fifth")


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
        raise event_error(errors.VALUE_WITHOUT_CURRENCY, index,
                          "a value needs custom_data.currency")
    if float(value) < 0:
        warnings.add("negative_value")
