"""POST /{dataset id}/events: whether all of a request is acceptable.

Order (choice): top level; then the schema of every event (2804019, whose text
names the event); then the meaning of each event in turn (all other subcodes,
whose texts do not say which event it was).  Called by graph.
"""

import collections

from . import fields
from . import rules
from . import schema
from .errors import parameter_error, schema_error
from .kinds import Members

MAX_EVENTS = 1000                     # SPEC 1.3
REQUEST = Members(fields.REQUEST)


def check(request, sandbox, now):
    """Raise MetaError, or return the warnings: name -> number of events."""
    if request.error:
        raise request.error
    schema.check_members(request.params, REQUEST, ())
    events = check_data(request.params)
    for index, event in enumerate(events):
        schema.check_event(event, ("data", index))
    check_offline(request, sandbox)
    warnings = collections.Counter()
    for index, event in enumerate(events):
        noted = set()
        rules.check_event(event, index, now, noted)
        warnings.update(noted)
    # about the request, so they count once
    if "query" in request.token_places:
        warnings["token_in_url"] += 1
    if "test_event_code" in request.params:
        # SPEC 1.2: counted all the same; must go in production
        warnings["test_event_code"] += 1
    return warnings


def check_data(params):
    if "data" not in params:
        raise parameter_error("The parameter data is required")
    data = params["data"]
    if type(data) is not list:
        raise schema_error(("data",), "must be an array")
    if not data:
        raise parameter_error("The parameter data must not be empty")
    if len(data) > MAX_EVENTS:
        raise parameter_error("The parameter data may hold at most %d events"
                              % MAX_EVENTS)
    return data


def check_offline(request, sandbox):
    """SPEC 2.1, 9.5: store events want a consolidated dataset.  Code:
    choice."""
    if sandbox.is_consolidated(request.dataset):
        return
    if any(event["action_source"] == "physical_store"
           for event in request.params["data"]):
        raise parameter_error("This dataset takes no physical_store events")
