"""The /sandbox/ API by which tests steer and question the sandbox.

handle() takes method, target and body and returns the Answer.  It is served on
the control port and on the edge's own port.  Called by httpd.
"""

import json
import time
import urllib.parse

from .answer import Answer
from .tokens import KNOWN_SCOPES, SCOPES

WAIT_GOALS = ("events", "distinct_events", "requests", "answered", "hanging")
EVENT_FILTERS = ("dataset", "event_name", "event_id")
REQUEST_FILTERS = ("dataset", "event_id", "call", "outcome", "code",
                   "subcode")


class BadCall(Exception):
    """The caller's mistake: answered with status 400 and the text."""


def handle(sandbox, method, target, body):
    path, _, query = target.partition("?")
    status = 200
    try:
        arguments = dict(urllib.parse.parse_qsl(query,
                                                keep_blank_values=True))
        call = CALLS.get((method, path.rstrip("/")))
        if call is None:
            status = 404
            value = {"error": "no such call",
                     "calls": sorted("%s %s" % key for key in CALLS)}
        else:
            value = call(sandbox, arguments, body)
    except (BadCall, ValueError) as error:
        status, value = 400, {"error": str(error)}
    if type(value) is Answer:
        return value
    return Answer(status, json.dumps(value).encode() + b"\n")


def body_object(body):
    try:
        value = json.loads(body.decode("utf-8") or "{}")
    except (ValueError, RecursionError):
        raise BadCall("the body must be JSON") from None
    if type(value) is not dict:
        raise BadCall("the body must be a JSON object")
    return value


def known_only(given, known):
    for name in given:
        if name not in known:
            raise BadCall("unknown member %s; known: %s"
                          % (name, ", ".join(known)))


def number(arguments, name, default):
    try:
        return int(arguments.get(name, default))
    except ValueError:
        raise BadCall("%s must be a number" % name) from None


def get_health(sandbox, arguments, body):
    return {"ok": True,
            "uptime_s": round(time.time() - sandbox.started_at, 3)}


def chosen(arguments, filters):
    return {name: arguments[name] for name in filters if name in arguments}


def is_set(arguments, name):
    return arguments.get(name, "0") != "0"


def get_events(sandbox, arguments, body):
    known_only(arguments, EVENT_FILTERS + ("limit", "brief"))
    return sandbox.store.events(chosen(arguments, EVENT_FILTERS),
                                number(arguments, "limit", 1000),
                                is_set(arguments, "brief"))


def get_requests(sandbox, arguments, body):
    known_only(arguments, REQUEST_FILTERS + ("since", "limit", "headers"))
    return sandbox.store.requests(chosen(arguments, REQUEST_FILTERS),
                                  number(arguments, "since", 0),
                                  number(arguments, "limit", 1000),
                                  is_set(arguments, "headers"))


def get_audiences(sandbox, arguments, body):
    """Custom audiences: who is in them, and their sessions."""
    known_only(arguments, ("limit",))
    return {"audiences": sandbox.audiences.show(number(arguments, "limit",
                                                       1000))}


def get_body(sandbox, arguments, body):
    """What a request carried, byte for byte if no token is in it."""
    known_only(arguments, ("request",))
    content = sandbox.store.body(number(arguments, "request", 0))
    if content is None:
        raise BadCall("no body is kept for that request")
    return Answer(200, content, "application/octet-stream")


def get_stats(sandbox, arguments, body):
    return dict(sandbox.store.stats(), tokens=sandbox.tokens.counts())


def get_wait(sandbox, arguments, body):
    """Blocks until counters reach the goals, or the time is over."""
    known_only(arguments, WAIT_GOALS + ("timeout_s",))
    goals = {name: number(arguments, name, 0)
             for name in WAIT_GOALS if name in arguments}
    timeout_s = min(number(arguments, "timeout_s", 30), 600)
    reached = sandbox.store.wait(goals, timeout_s)
    return dict(get_stats(sandbox, arguments, body), reached=reached)


def post_reset(sandbox, arguments, body):
    """Forget events, requests, counters, plans, the clock's offset and the
    bad certificate; let hanging requests go.  Tokens stay as they are."""
    sandbox.plans.clear()
    if sandbox.certificates is not None:
        sandbox.certificates.use("good")
    sandbox.plans.release()
    sandbox.quality.clear()
    sandbox.hours_a_page = None
    sandbox.store.clock_offset_s = 0.0
    sandbox.store.reset()
    sandbox.audiences.clear()
    return {"ok": True}


def post_misbehave(sandbox, arguments, body):
    try:
        specs = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadCall("the body must be JSON") from None
    return {"ok": True, "plans": sandbox.plans.add(specs)}


def get_misbehave(sandbox, arguments, body):
    return {"plans": sandbox.plans.list()}


def delete_misbehave(sandbox, arguments, body):
    return {"ok": True, "removed": sandbox.plans.clear()}


def post_release(sandbox, arguments, body):
    sandbox.plans.release()
    return {"ok": True}


def post_tokens(sandbox, arguments, body):
    """add (text, or {"token", "datasets", "expires_at", "scopes"}), revoke,
    expire."""
    given = body_object(body)
    known_only(given, ("add", "revoke", "expire"))
    added = []
    for item in texts_or_objects(given, "add"):
        item = {"token": item} if type(item) is str else item
        known_only(item, ("token", "datasets", "expires_at", "scopes"))
        token = item.get("token")
        datasets = item.get("datasets")
        expires_at = item.get("expires_at")
        if type(token) is not str or type(datasets) not in (
                list, type(None)) or type(expires_at) not in (
                int, type(None)):
            raise BadCall("add needs token texts, or objects with token, "
                          "datasets (an array) and expires_at (seconds)")
        scopes = item.get("scopes", list(SCOPES))
        if type(scopes) is not list \
                or not all(scope in KNOWN_SCOPES for scope in scopes):
            raise BadCall("scopes is an array of " + ", ".join(KNOWN_SCOPES))
        added.append((token, datasets, expires_at, scopes))
    for name, state in (("revoke", "revoked"), ("expire", "expired")):
        for token in texts_or_objects(given, name):
            if not sandbox.tokens.spoil(token, state):
                raise BadCall("%s names a token that was never known" % name)
    for facts in added:
        sandbox.tokens.add(*facts)
    return {"ok": True, "tokens": sandbox.tokens.counts()}


def texts_or_objects(given, name):
    items = given.get(name, [])
    if type(items) is not list or not all(
            type(item) is str or name == "add" and type(item) is dict
            for item in items):
        raise BadCall("%s must be an array of strings" % name)
    return items


def post_clock(sandbox, arguments, body):
    """Let Meta's clock go ahead of (or behind) this machine's."""
    given = body_object(body)
    known_only(given, ("offset_s",))
    offset = given.get("offset_s")
    if type(offset) not in (int, float) or abs(offset) > 10 ** 10:
        raise BadCall("offset_s must be a number of seconds")
    sandbox.store.clock_offset_s = float(offset)
    return {"ok": True, "now": sandbox.store.now()}


def post_quality(sandbox, arguments, body):
    """What /dataset_quality says of a dataset's web events from now on."""
    given = body_object(body)
    known_only(given, ("dataset", "web"))
    if type(given.get("dataset")) is not str \
            or type(given.get("web")) is not list:
        raise BadCall("quality needs dataset (a text) and web (an array)")
    sandbox.quality[given["dataset"]] = given["web"]
    return {"ok": True}


def post_paging(sandbox, arguments, body):
    """So many hours on a page of stats; null: all."""
    given = body_object(body)
    known_only(given, ("hours",))
    if type(given.get("hours")) not in (int, type(None)):
        raise BadCall("hours must be a number or null")
    sandbox.hours_a_page = given.get("hours")
    return {"ok": True}


def post_count(sandbox, arguments, body):
    """Counts that another sender made: hour (seconds), dataset, event_name,
    count; also negative ones, of what Meta threw away."""
    given = body_object(body)
    known_only(given, ("dataset", "hour", "event_name", "count"))
    if type(given.get("dataset")) is not str \
            or type(given.get("event_name")) is not str \
            or type(given.get("hour")) is not int \
            or type(given.get("count")) is not int:
        raise BadCall("count needs dataset, hour, event_name and count")
    sandbox.store.count(given["dataset"], given["hour"],
                        given["event_name"], given["count"])
    return {"ok": True}


def post_certificate(sandbox, arguments, body):
    """Which certificate new connections are shown."""
    given = body_object(body)
    known_only(given, ("use",))
    if sandbox.certificates is None:
        raise BadCall("the edge is served without TLS")
    sandbox.certificates.use(given.get("use"))
    return {"ok": True, "used": sandbox.certificates.used}


def post_disconnect(sandbox, arguments, body):
    """End every connection of the edge, idle or not."""
    with sandbox.store.changed:
        handlers = list(sandbox.open)
    for handler in handlers:
        handler.disconnect()
    return {"ok": True, "connections": len(handlers)}


CALLS = {
    ("GET", "/sandbox/health"): get_health,
    ("GET", "/sandbox/events"): get_events,
    ("GET", "/sandbox/requests"): get_requests,
    ("GET", "/sandbox/audiences"): get_audiences,
    ("GET", "/sandbox/body"): get_body,
    ("GET", "/sandbox/stats"): get_stats,
    ("GET", "/sandbox/wait"): get_wait,
    ("POST", "/sandbox/reset"): post_reset,
    ("POST", "/sandbox/misbehave"): post_misbehave,
    ("GET", "/sandbox/misbehave"): get_misbehave,
    ("DELETE", "/sandbox/misbehave"): delete_misbehave,
    ("POST", "/sandbox/release"): post_release,
    ("POST", "/sandbox/tokens"): post_tokens,
    ("POST", "/sandbox/clock"): post_clock,
    ("POST", "/sandbox/count"): post_count,
    ("POST", "/sandbox/paging"): post_paging,
    ("POST", "/sandbox/quality"): post_quality,
    ("POST", "/sandbox/certificate"): post_certificate,
    ("POST", "/sandbox/disconnect"): post_disconnect,
}
