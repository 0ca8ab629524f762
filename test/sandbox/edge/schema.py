"""Keys and kinds of the events of a request: subcode 2804019.

check_event() raises MetaError with the path of what is wrong, or returns; what
the values mean is for rules.  SPEC 1.3 speaks of unknown keys in events and in
items of contents; refusing them in the other objects, too, is a choice.
Called by batch.
"""

import functools
import ipaddress

from . import fields
from .errors import schema_error
from .kinds import Items, Members

MIN_TIME_IN_MS = 10 ** 11             # as seconds: the year 5138


def check_members(members, spec, path):
    """One object against its table, with all that is in it."""
    if type(members) is not dict:
        raise schema_error(path, "must be an object")
    table = spec.table
    for name, value in members.items():
        check = table.get(name)
        if check is None:
            if name not in table and not spec.free:
                raise schema_error(path + (name,), "is not a known key")
        elif type(check) is Members:
            check_members(value, check, path + (name,))
        elif type(check) is Items:
            check_items(value, check.member, path + (name,))
        else:
            wrong = check(value)
            if wrong:
                raise schema_error(path + (name,), wrong)


def check_items(items, member, path):
    if type(items) is not list:
        raise schema_error(path, "must be an array")
    for number, item in enumerate(items):
        check_members(item, member, path + (number,))


EVENT = Members(fields.EVENT)


def check_event(event, path):
    """One event (SPEC 1.3, 2 to 5)."""
    check_members(event, EVENT, path)
    for name in fields.EVENT_REQUIRED:
        if name not in event:
            raise schema_error(path + (name,), "is required")
    check_client_ip(event["user_data"], path)
    check_contents(event, path)
    check_data_processing(event, path)
    check_original_event(event, path)
    check_source_needs(event, path)


@functools.lru_cache(10000)
def address_of(text):
    """The IP address that the text is, or None."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def check_client_ip(user_data, path):
    """SPEC 3.2: valid IPv4 or IPv6, no spaces.  Subcode: choice."""
    text = user_data.get("client_ip_address")
    if text is not None and address_of(text) is None:
        raise schema_error(path + ("user_data", "client_ip_address"),
                           "must be an IPv4 or IPv6 address")


def check_contents(event, path):
    """SPEC 4.1: price belongs to offline items, which need id and
    quantity."""
    items = event.get("custom_data", {}).get("contents", ())
    offline = event["action_source"] == "physical_store"
    for number, item in enumerate(items):
        item_path = path + ("custom_data", "contents", number)
        if not offline:
            if "price" in item:
                raise schema_error(item_path + ("price",),
                                   "is not a known key")
            continue
        for name in ("id", "quantity"):
            if name not in item:
                raise schema_error(item_path + (name,), "is required")


def check_data_processing(event, path):
    """SPEC 2: ["LDU"] or []; LDU wants the country, and a country the state.

    A state of the USA without the USA is refused (choice).
    """
    options = event.get("data_processing_options", [])
    country = event.get("data_processing_options_country")
    state = event.get("data_processing_options_state")
    if options not in ([], ["LDU"]):
        raise schema_error(path + ("data_processing_options",),
                           'must be [] or ["LDU"]')
    for name, value, allowed in (
            ("country", country, fields.LDU_COUNTRIES),
            ("state", state, fields.LDU_STATES)):
        if value is None and options:
            raise schema_error(path + ("data_processing_options_" + name,),
                               "is required with LDU")
        if value is not None and value not in allowed:
            raise schema_error(path + ("data_processing_options_" + name,),
                               "is not a known place")
    if country is not None and state is None:
        raise schema_error(path + ("data_processing_options_state",),
                           "is required with a country")
    if state and country != 1:
        raise schema_error(path + ("data_processing_options_country",),
                           "must be that of the state")


def check_original_event(event, path):
    """SPEC 2: its time is in seconds, too.  Refusing others is a choice."""
    if event.get("original_event_data", {}).get("event_time", 0) \
            >= MIN_TIME_IN_MS:
        raise schema_error(path + ("original_event_data", "event_time"),
                           "must be in seconds")


def check_source_needs(event, path):
    """What SPEC 2.1 asks for and no other subcode is known of."""
    if event["action_source"] == "app":
        app = event.get("app_data", {})
        for name in ("advertiser_tracking_enabled",
                     "application_tracking_enabled"):
            if name not in app:
                raise schema_error(path + ("app_data", name),
                                   "is required for app events")
    elif event["action_source"] == "business_messaging" \
            and "messaging_channel" not in event:
        raise schema_error(path + ("messaging_channel",),
                           "is required for business_messaging events")
