"""What can be read: GET /debug_token, /{dataset id}, /{dataset id}/stats and
/dataset_quality.

Each function takes the request and returns the answer as an object, or raises
MetaError.  The scope and type of the token are those of one made in Events
Manager, the usual sender's (SPEC 9.3).  Called by graph.
"""

from .errors import MetaError, parameter_error

# SPEC 9.5 has the third; every node has an id, and a name is harmless.
DATASET_FIELDS = ("id", "name", "is_consolidated_container")
SCOPE = "read_ads_dataset_quality"    # SPEC 9.2, 9.3
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
    granted = {"scope": SCOPE}
    if facts["datasets"] is not None:
        granted["target_ids"] = sorted(facts["datasets"])
    return {"data": {
        "app_id": APP_ID, "type": "SYSTEM_USER",
        "application": "capi sandbox", "is_valid": True,
        "issued_at": facts["added_at"],
        "expires_at": facts["expires_at"] or 0,       # 0: never
        "data_access_expires_at": 0, "user_id": USER_ID, "scopes": [SCOPE],
        "granular_scopes": [granted]}}


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


def stats(request, sandbox):
    """SPEC 9.1: the token made for sending may not read them."""
    raise MetaError(100, message="(#100) Missing Permission")


def dataset_quality(request, sandbox):
    """SPEC 9.2: {} means no data, or not yet."""
    check_parameters(request, ("dataset_id", "fields", "agent_name"))
    if "dataset_id" not in request.params:
        raise parameter_error("The parameter dataset_id is required")
    return {}
