"""Planned failures: which request is hit, and by what.

A Plan is made from the JSON of POST /sandbox/misbehave.  Plans are tried in
the order they were added; the first that matches and is not used up is taken.
serve carries the plan out; this file only checks, matches and composes
answers.
"""

import json
import threading

from .answer import Answer, FRAMINGS
from .errors import MetaError

HTML_PAGE = (b"<!DOCTYPE html>\n<html><head><title>Error</title></head>"
             b"<body><h1>Sorry, something went wrong.</h1></body></html>\n")
GARBAGE = bytes(range(256)) * 4
CUTS = (True, "before", "middle", "after")

# SPEC 8.5: header and members of each kind of throttle; a plan's own members
# replace these.
THROTTLES = {
    "app": ("X-App-Usage", {
        "call_count": 100, "total_time": 25, "total_cputime": 25}),
    "ad_account": ("X-Ad-Account-Usage", {
        "acc_id_util_pct": 100, "reset_time_duration": 60,
        "ads_api_access_tier": "standard_access"}),
    "business": ("X-Business-Use-Case-Usage", {
        "type": "ads_management", "call_count": 100, "total_cputime": 20,
        "total_time": 20, "estimated_time_to_regain_access": 1,
        "ads_api_access_tier": "standard_access"}),
}


def _whole(low, high):
    def check(value):
        return type(value) is int and low <= value <= high
    return check


def _any(value):
    return True


def _bool(value):
    return type(value) is bool


def _str(value):
    return type(value) is str


def _object(value):
    return type(value) is dict


def _header_text(value):
    return type(value) is str and value.isascii() and value.isprintable() \
        and value != ""


def _headers(value):
    return type(value) is dict and all(
        type(name) is str and name.isascii()
        and name.replace("-", "").replace("_", "").isalnum()
        for name in value)


def _drip(value):
    return type(value) is dict and set(value) == {"bytes", "every_ms"} \
        and _whole(1, 10 ** 6)(value["bytes"]) \
        and _whole(1, 60000)(value["every_ms"])


def _throttle(value):
    return type(value) is dict and value and all(
        kind in THROTTLES and type(members) is dict
        for kind, members in value.items())


# member -> (check, what it must be)
MEMBERS = {
    "times": (lambda v: v is None or _whole(1, 10 ** 9)(v),
              "a positive integer or null"),
    "skip": (_whole(0, 10 ** 9), "an integer"),
    "match": (_object, "an object"),
    "status": (_whole(200, 599), "200 to 599"),
    "code": (_whole(-10 ** 9, 10 ** 9), "an integer"),
    "subcode": (_whole(-10 ** 9, 10 ** 9), "an integer"),
    "is_transient": (_bool, "true or false"),
    "message": (_str, "a string"),
    "user_msg": (_str, "a string"),
    "type": (_str, "a string"),
    "error_data": (_any, ""),
    "events_received": (_whole(0, 10 ** 9), "an integer"),
    "messages": (lambda v: type(v) is list, "an array"),
    "delay_ms": (_whole(0, 3600000), "milliseconds"),
    "hang": (_bool, "true or false"),
    "cut": (lambda v: v in CUTS and (v is True or type(v) is str),
            'true, "before", "middle" or "after"'),
    "html": (_bool, "true or false"),
    "garbage": (_bool, "true or false"),
    "body": (_str, "a string"),
    "huge": (_whole(1, 2 ** 40), "a number of bytes"),
    "redirect": (_header_text, "an address"),
    "content_type": (_header_text, "a header's text"),
    "framing": (lambda v: v in FRAMINGS and type(v) is str,
                "one of " + ", ".join(FRAMINGS)),
    "drip": (_drip, 'an object of "bytes" and "every_ms"'),
    "http10": (_bool, "true or false"),
    "headers": (_headers, "an object of header names and values"),
    "throttle": (_throttle, "an object of app, ad_account, business"),
    "close": (lambda v: _bool(v) or v == "silent" and _str(v),
              'true, false or "silent"'),
    "accept": (_bool, "true or false"),
}
MATCH_MEMBERS = ("event_id", "event_name", "dataset", "field",
                 "test_event_code", "call")


class Plan:
    """One planned failure."""

    def __init__(self, spec, number):
        """Raises ValueError for a plan that would not do what it says."""
        if type(spec) is not dict:
            raise ValueError("a plan must be an object")
        for name, value in spec.items():
            if name not in MEMBERS:
                raise ValueError("unknown member %s; known: %s" % (
                    name, ", ".join(sorted(MEMBERS))))
            check, what = MEMBERS[name]
            if not check(value):
                raise ValueError("%s must be %s" % (name, what))
        self.match = spec.get("match", {})
        for name in self.match:
            if name not in MATCH_MEMBERS:
                raise ValueError("unknown match member %s; known: %s" % (
                    name, ", ".join(MATCH_MEMBERS)))
        if "subcode" in spec and "code" not in spec:
            raise ValueError("subcode needs code")
        self.spec = spec
        self.number = number
        self.left = spec.get("times", 1)
        self.to_skip = spec.get("skip", 0)
        self.used = 0

    def get(self, name, default=None):
        return self.spec.get(name, default)

    @property
    def cut(self):
        cut = self.spec.get("cut")
        return "before" if cut is True else cut

    @property
    def has_answer(self):
        """Is an answer planned, not only what becomes of it?"""
        return any(name in self.spec for name in (
            "status", "code", "body", "huge", "redirect")) \
            or self.get("garbage", False) or self.get("html", False)

    @property
    def replaces_answer(self):
        """Does the client get something other than the honest answer?"""
        return self.has_answer or "cut" in self.spec

    @property
    def processes(self):
        """Are the events judged and counted all the same?"""
        if "accept" in self.spec:
            return self.spec["accept"]
        return not self.replaces_answer or self.cut in ("after", "middle")

    def describe(self):
        return dict(self.spec, number=self.number, left=self.left,
                    used=self.used)

    def matches(self, request):
        """Every member must hold; those about events in the same event."""
        match = self.match
        if "dataset" in match and not _same(match["dataset"],
                                            request.dataset):
            return False
        if "test_event_code" in match and not _same(
                match["test_event_code"],
                request.params.get("test_event_code")):
            return False
        if "call" in match and not _same(match["call"], request.call):
            return False
        names = [name for name in ("event_id", "event_name", "field")
                 if name in match]
        return not names or any(
            type(event) is dict
            and all(_event_has(event, name, match[name]) for name in names)
            for event in request.events)

    def answer(self, events, trace_id):
        """The Answer in place of the honest one."""
        if "body" in self.spec:
            return Answer(self.get("status", 200),
                          self.spec["body"].encode("utf-8", "replace"),
                          "text/plain; charset=UTF-8")
        if "redirect" in self.spec:
            return Answer(self.get("status", 302), b"", "text/html",
                          [("Location", self.get("redirect"))])
        if self.get("html"):
            return Answer(self.get("status", 502), HTML_PAGE, "text/html")
        if self.get("garbage"):
            return Answer(self.get("status", 502), GARBAGE)
        if "huge" in self.spec:
            return Answer(self.get("status", 200), huge=self.get("huge"))
        status = self.get("status")
        if status is None and not self.replaces_answer:
            status = 200              # says yes and keeps nothing
        if "code" not in self.spec and (status or 500) < 300:
            return Answer(status, success_body(
                self.get("events_received", events),
                self.get("messages", []), trace_id))
        error = self._error(status)
        return Answer(error.status,
                      json.dumps(error.body(trace_id)).encode())

    def dress(self, answer, request):
        """Add to an answer, honest or not, what is planned about its form."""
        answer.headers = list(answer.headers) + self._header_lines(request)
        answer.content_type = self.get("content_type", answer.content_type)
        answer.framing = self.get("framing", answer.framing)
        answer.drip = self.get("drip")
        answer.http10 = self.get("http10", False)
        answer.close = self.get("close", False)
        return answer

    def _error(self, status):
        code = self.get("code")
        if code is None:
            code = 4 if status == 429 else 190 if status == 401 else \
                100 if status is not None and status < 500 else 1
        if status is None:
            status = 401 if code == 190 else \
                500 if code in (1, 2) or code < 0 else 400
        return MetaError(
            code, self.get("subcode"), status=status,
            message=self.get("message",
                             "(#%d) Failure planned in the sandbox" % code),
            user_msg=self.get("user_msg"), type_=self.get("type"),
            transient=self.get("is_transient"),
            error_data=self.get("error_data"))

    def _header_lines(self, request):
        """A structure becomes JSON text (SPEC 8.5)."""
        headers = {}
        for kind, members in self.get("throttle", {}).items():
            name, usual = THROTTLES[kind]
            value = dict(usual, **members)
            headers[name] = {request.dataset or "0": [value]} \
                if kind == "business" else value
        headers.update(self.get("headers", {}))
        lines = []
        for name, value in headers.items():
            if type(value) is not str:
                value = json.dumps(value)
            value = value.replace("\r", " ").replace("\n", " ")
            lines.append((name, value.encode("latin-1", "replace")
                          .decode("latin-1")))
        return lines


def success_body(events_received, messages, trace_id):
    """SPEC 8.1."""
    return json.dumps({"events_received": events_received,
                       "messages": messages,
                       "fbtrace_id": trace_id}).encode()


def _same(wanted, actual):
    if type(wanted) is list:
        return any(_same(item, actual) for item in wanted)
    return type(wanted) is type(actual) and wanted == actual


def _event_has(event, name, wanted):
    if name != "field":
        return _same(wanted, event.get(name))
    places = [event, event.get("user_data"), event.get("custom_data")]
    return any(type(place) is dict and wanted in place for place in places) \
        if type(wanted) is str else False


class Plans:
    """All plans, and the gate that hanging requests wait at."""

    def __init__(self):
        self._lock = threading.Lock()
        self._plans = []
        self._next = 0
        self._gate = threading.Event()

    def add(self, specs):
        """Add one plan or a list of them; all or nothing."""
        specs = specs if type(specs) is list else [specs]
        with self._lock:
            plans = [Plan(spec, self._next + number)
                     for number, spec in enumerate(specs, 1)]
            self._next += len(plans)
            self._plans.extend(plans)
            return [plan.describe() for plan in plans]

    def clear(self):
        with self._lock:
            count = len(self._plans)
            self._plans = []
            return count

    def take(self, request):
        """The plan for this request, with one use taken, or None."""
        with self._lock:
            for plan in self._plans:
                if plan.left != 0 and plan.matches(request):
                    if plan.to_skip > 0:
                        plan.to_skip -= 1
                        continue
                    plan.used += 1
                    if plan.left is not None:
                        plan.left -= 1
                    return plan
        return None

    def list(self):
        with self._lock:
            return [plan.describe() for plan in self._plans]

    def gate(self):
        """The event that lets the requests go that hang now."""
        with self._lock:
            return self._gate

    def release(self):
        """Let every hanging request go; later ones hang anew."""
        with self._lock:
            gate, self._gate = self._gate, threading.Event()
        gate.set()
