"""Which call a request is, and its honest answer.

The order of the checks (choice): version, path and method, token, proof,
dataset, body.  Called by serve; keeps nothing itself.
"""

from . import access
from . import audiences
from . import batch
from . import nodes
from .errors import MetaError

READ_CALLS = {
    "dataset": nodes.dataset,
    "stats": nodes.stats,
    "debug_token": nodes.debug_token,
    "dataset_quality": nodes.dataset_quality,
}
METHODS = {"events": ("POST",), "users": ("POST", "DELETE")}


def process(request, sandbox):
    """Return (answer, None) of a call that reads, or (None, warnings) of
    events that are acceptable; or raise MetaError."""
    now = sandbox.store.now()
    access.check_version(request)
    check_path(request)
    access.check_token(request, sandbox.tokens, now,
                       sandbox.allow_token_in_url)
    access.check_proof(request, sandbox.app_secret)
    if request.call == "users":
        access.check_audience(request, sandbox)
    elif request.dataset is not None:
        access.check_dataset(request, sandbox)
    if request.call == "events":
        return None, batch.check(request, sandbox, now)
    if request.call == "users":
        return audiences.users(request, sandbox), None
    return READ_CALLS[request.call](request, sandbox), None


def check_path(request):
    """SPEC 1.1: events takes POST only; 9.4: users that and DELETE; all else
    here is for reading."""
    if request.call == "other":
        raise MetaError(2500, message="(#2500) Unknown path components")
    if request.method not in METHODS.get(request.call, ("GET",)):
        raise access.unsupported(request)
