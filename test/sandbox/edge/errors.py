"""Error bodies in the shape Meta gives them (SPEC 8.2) and their codes.

Only this file knows HTTP statuses and texts.  The texts are our own words;
clients must not match on them (SPEC 8.2), only on code and subcode.
Called by everything that refuses.
"""

import base64
import os

# Subcodes of code 100 (SPEC 8.4)
OBJECT_MISSING = 33
BAD_BROWSER_ID = 2804001
TOO_OLD = 2804003
IN_FUTURE = 2804004
PURCHASE_WITHOUT_VALUE = 2804009
PURCHASE_WITHOUT_CURRENCY = 2804010
NOT_HASHED = 2804016
SCHEMA = 2804019
VALUE_WITHOUT_CURRENCY = 2804023
BAD_LEAD_ID = 2804036
BAD_EXTINFO = 2804043
TOO_LITTLE_CUSTOMER_DATA = 2804050
MESSAGING_EVENT_NAME = 2804066
MESSAGING_PAGE_ID = 2804069
MESSAGING_IG_ACCOUNT_ID = 2804079
MESSAGING_CTWA_CLID = 2804087
MESSAGING_WITHOUT_ID = 2804116

TITLES = {
    BAD_BROWSER_ID: "Click or browser id is malformed",
    TOO_OLD: "Event is too old",
    IN_FUTURE: "Event is in the future",
    PURCHASE_WITHOUT_VALUE: "Purchase needs a value",
    PURCHASE_WITHOUT_CURRENCY: "Purchase needs a currency",
    NOT_HASHED: "Customer parameter is not hashed",
    SCHEMA: "Parameter does not fit the schema",
    VALUE_WITHOUT_CURRENCY: "Value needs a currency",
    BAD_LEAD_ID: "Lead id is not valid",
    BAD_EXTINFO: "Extended device information is not valid",
    TOO_LITTLE_CUSTOMER_DATA: "Too little customer information",
    MESSAGING_EVENT_NAME: "Event name is not one for messaging",
    MESSAGING_PAGE_ID: "Page id is not valid",
    MESSAGING_IG_ACCOUNT_ID: "Account id is not valid",
    MESSAGING_CTWA_CLID: "Click id is not valid",
    MESSAGING_WITHOUT_ID: "Messaging event without page or account id",
}


def new_trace_id():
    """fbtrace_id: looks like "A" and 22 base64url characters."""
    return "A" + base64.urlsafe_b64encode(os.urandom(17))[:22].decode()


class MetaError(Exception):
    """A refusal of the whole request (SPEC 1.3: nothing of it is kept).

    index is the guilty event for our own records only; it reaches the client
    solely through the path in the text of 2804019, as at Meta.
    """

    def __init__(self, code, subcode=None, message=None, status=400,
                 user_msg=None, transient=False, index=None, type_=None,
                 title=None, error_data=None):
        super().__init__(message or user_msg or "error")
        self.code = code
        self.subcode = subcode
        self.status = status
        self.message = message or "Invalid parameter"
        self.user_msg = user_msg
        self.title = title or TITLES.get(subcode)
        self.transient = transient
        self.index = index
        self.type = type_ or "OAuthException"
        self.error_data = error_data

    def body(self, trace_id):
        """The JSON object of SPEC 8.2; optional members only when set."""
        error = {"message": self.message, "type": self.type,
                 "code": self.code}
        if self.error_data is not None:
            error["error_data"] = self.error_data
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient is not None:
            error["is_transient"] = self.transient
        if self.user_msg is not None:
            error["error_user_title"] = self.title or self.message
            error["error_user_msg"] = self.user_msg
        error["fbtrace_id"] = trace_id
        return {"error": error}


def path_text(path):
    """("data", 3, "event_time") -> $['data'][3]['event_time'] (SPEC 8.4)."""
    text = "$"
    for step in path:
        if isinstance(step, int):
            text += "[%d]" % step
        else:
            step = step[:100].replace("\\", "\\\\").replace("'", "\\'")
            text += "['%s']" % step
    return text


def schema_error(path, why):
    """2804019; the only refusal whose text names the event (SPEC 8.4)."""
    index = None
    if len(path) > 1 and path[0] == "data" and isinstance(path[1], int):
        index = path[1]
    return MetaError(100, SCHEMA, index=index,
                     user_msg="%s: %s" % (path_text(path), why))


def event_error(subcode, index, why):
    """A refusal because of one event that the client must find itself."""
    return MetaError(100, subcode, index=index, user_msg=why)


def parameter_error(why):
    """Code 100 without subcode (SPEC 8.4, "other")."""
    return MetaError(100, message="(#100) " + why)
