"""What can be read: GET /debug_token, /{dataset id}, /{dataset id}/stats and
/dataset_quality.

Each function takes the request and returns the answer as an object, or raises
MetaError.  The type of the token, and its scope unless it was given others, are
those of one made in Events Manager, the usual sender's (SPEC 9.3).  Called by
graph.
"""

import datetime
import re

from .errors import MetaError, parameter_error

# SPEC 9.5 has the third; every node has an id, and a name is harmless.
DATASET_FIELDS = ("id", "name", "is_consolidated_container")
QUALITY_SCOPE = "read_ads_dataset_quality"    # SPEC 9.2, 9.3
STATS_SCOPES = ("ads_read", "ads_management")    # SPEC 9.1
STATS_DAYS = 7
AGGREGATIONS = (
    "event", "event_total_counts", "event_source", "event_processing_results",
    "event_value_count", "match_keys", "had_pii", "pixel_fire", "host", "url",
    "url_by_rule", "browser_type", "device_os", "device_type",
    "custom_data_field", "event_detection_method")

# SPEC 9.2; None: a value.
PERCENTAGE = {"percentage": None}
QUALITY_FIELDS = {"web": {
    "event_name": None,
    "event_match_quality": {
        "composite_score": None,
        "match_key_feedback": {"identifier": None, "coverage": PERCENTAGE},
        "diagnostics": {name: None for name in (
            "name", "description", "solution", "percentage",
            "affected_event_count", "total_event_count")}},
    "event_coverage": {"percentage": None, "goal_percentage": None,
                       "description": None},
    "dedupe_key_feedback": {
        "dedupe_key": None, "browser_events_with_dedupe_key": PERCENTAGE,
        "server_events_with_dedupe_key": PERCENTAGE,
        "overall_browser_coverage_from_dedupe_key": PERCENTAGE},
    "data_freshness": {"upload_frequency": None, "description": None},
    "acr": {"percentage": None, "description": None},
    "event_potential_aly_acr_increase": {"percentage": None,
                                         "description": None}}}
APP_ID = "1000000000000001"
USER_ID = "1000000000000002"


def check_parameters(request, known):
    """Unknown ones are refused (choice: a misspelt one would be missed)."""
    if request.error:
        raise request.error
    for name in request.params:
        if name not in known and name != "appsecret_proof":
            raise parameter_error("Unknown parameter")


def debug_token(request, sandbox):
    """SPEC 9.3.  A sending token may look at itself, and at no other."""
    check_parameters(request, ("input_token",))
    if "input_token" not in request.params:
        raise parameter_error("The parameter input_token is required")
    if request.params["input_token"] != request.tokens[0]:
        raise MetaError(100, message="(#100) You must provide an app access "
                        "token, or a user access token that is an owner or "
                        "developer of the app")
    facts = sandbox.tokens.facts(request.tokens[0])
    granted = [{"scope": scope} for scope in facts["scopes"]]
    if facts["datasets"] is not None:
        for each in granted:
            each["target_ids"] = sorted(facts["datasets"])
    return {"data": {
        "app_id": APP_ID, "type": "SYSTEM_USER",
        "application": "capi sandbox", "is_valid": True,
        "issued_at": facts["added_at"],
        "expires_at": facts["expires_at"] or 0,       # 0: never
        "data_access_expires_at": 0, "user_id": USER_ID,
        "scopes": list(facts["scopes"]), "granular_scopes": granted}}


def dataset(request, sandbox):
    """SPEC 9.5: with fields=is_consolidated_container."""
    check_parameters(request, ("fields",))
    wanted = request.params.get("fields", "id,name").split(",")
    values = {"name": "Sandbox dataset", "id": request.dataset,
              "is_consolidated_container":
                  sandbox.is_consolidated(request.dataset)}
    for name in wanted:
        if name.strip() not in DATASET_FIELDS:
            raise parameter_error("Tried accessing nonexisting field on node "
                                  "type (AdsPixel)")
    return {name: value for name, value in values.items()
            if name == "id" or name in (each.strip() for each in wanted)}


def check_scope(request, sandbox, wanted):
    """SPEC 9.1 for stats; that the quality is refused alike is a choice."""
    facts = sandbox.tokens.facts(request.tokens[0])
    if not any(scope in facts["scopes"] for scope in wanted):
        raise MetaError(100, message="(#100) Missing Permission")


def moment(text):
    """Unix or ISO (SPEC 9.1)."""
    try:
        if re.fullmatch("[0-9]{1,11}", text):
            return int(text)
        return int(datetime.datetime.fromisoformat(
            text.replace("Z", "+00:00")).timestamp())
    except ValueError:
        raise parameter_error("A time is Unix seconds or ISO 8601") from None


def stats(request, sandbox):
    """SPEC 9.1.  Without times: the last day (choice)."""
    check_scope(request, sandbox, STATS_SCOPES)
    check_parameters(request, ("aggregation", "start_time", "end_time",
                               "event", "event_source", "agent"))
    params = request.params
    aggregation = params.get("aggregation", "event")
    source = params.get("event_source")
    if aggregation not in AGGREGATIONS \
            or source not in (None, "WEB_ONLY", "SERVER_ONLY"):
        raise parameter_error("Invalid parameter")
    if aggregation != "event":
        raise parameter_error("sandbox: only aggregation=event is played")
    now = sandbox.store.now()
    end = moment(params.get("end_time", str(int(now))))
    start = moment(params.get("start_time", str(int(end - 86400))))
    if start >= end or end > now + 60 or start < now - STATS_DAYS * 86400:
        raise parameter_error("Only the last seven days can be read")
    hours = {} if source == "WEB_ONLY" \
        else sandbox.store.hourly(request.dataset, start, end)
    data = [{"start_time": datetime.datetime.fromtimestamp(
        hour, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000"),
        "aggregation": "event",
        "data": [{"value": name, "count": count}
                 for name, count in names.items()]}
        for hour, names in hours.items()]
    answer = {"data": data}
    if sandbox.hours_a_page and len(data) > sandbox.hours_a_page:
        answer["data"] = data[:sandbox.hours_a_page]
        answer["paging"] = {
            "next": "https://graph.facebook.com/%s/%s/stats?access_token=%s"
            "&after=x" % (request.version, request.dataset,
                          request.tokens[0])}
    return answer


def dataset_quality(request, sandbox):
    """SPEC 9.2: {} means no data, or not yet."""
    check_scope(request, sandbox, (QUALITY_SCOPE,) + STATS_SCOPES)
    check_parameters(request, ("dataset_id", "fields", "agent_name"))
    if "dataset_id" not in request.params:
        raise parameter_error("The parameter dataset_id is required")
    wanted = request.params["dataset_id"]
    if not sandbox.has_dataset(wanted) \
            or not sandbox.tokens.may_use(request.tokens[0], wanted):
        raise parameter_error("The dataset cannot be loaded")
    fields = parse_fields(request.params.get("fields", "web{event_name}"))
    if wanted not in sandbox.quality:
        check_fields(fields, QUALITY_FIELDS)
        return {}
    return choose({"web": sandbox.quality[wanted]}, fields, QUALITY_FIELDS)


def parse_fields(text):
    """"a,b{c,d}" -> {"a": None, "b": {"c": None, "d": None}}"""
    steps = re.findall(r"[a-z_]+|[{},]|.", text)
    stack = [{}]
    name = None
    for step in steps:
        if step == "{" and name:
            stack[-1][name] = {}
            stack.append(stack[-1][name])
            name = None
        elif step == "}" and len(stack) > 1:
            stack.pop()
            name = None
        elif step == ",":
            name = None
        elif re.fullmatch("[a-z_]+", step) and name is None:
            name = step
            stack[-1][name] = None
        else:
            raise parameter_error("Syntax error in fields")
    if len(stack) > 1:
        raise parameter_error("Syntax error in fields")
    return stack[0]


def check_fields(fields, known):
    for name, below in fields.items():
        if name not in known or (below is not None and known[name] is None):
            raise parameter_error("Tried accessing nonexisting field")
        if below is not None:
            check_fields(below, known[name])


def choose(value, fields, known):
    """The members that were asked for; a structure without members: all."""
    check_fields(fields, known)
    if type(value) is list:
        return [choose(item, fields, known) for item in value]
    return {name: choose(value[name], below, known[name])
            if below is not None else value[name]
            for name, below in fields.items() if name in value}
