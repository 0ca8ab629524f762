"""Who may call what: API version, token, app secret proof, dataset.

Each check raises MetaError or returns.  Called by graph.
"""

import hashlib
import hmac
import re

from . import errors
from .errors import MetaError

OLDEST_VERSION = 21                   # SPEC 7: v20.0 expired 2026-09-24
NEWEST_VERSION = 26
VERSION = re.compile(r"v([0-9]{1,3})\.0")
PROOF = re.compile(r"[0-9a-f]{64}")


def check_version(request):
    """SPEC 7; a call without a version fails there too (code: choice)."""
    if request.version is None:
        raise MetaError(2635, message="(#2635) An API version is required")
    match = VERSION.fullmatch(request.version)
    if not match or int(match.group(1)) > NEWEST_VERSION:
        raise MetaError(2500, message="(#2500) Unknown path components")
    if int(match.group(1)) < OLDEST_VERSION:
        raise MetaError(2635, message="(#2635) You are calling a retired "
                        "version of the API; please use v%d.0"
                        % NEWEST_VERSION)


def check_token(request, tokens, now, allow_in_url):
    """104 without, 190 for a bad one (SPEC 8.4); 401 as seen in SPEC 8.3.

    Several tokens in one request must agree (choice).  Meta takes a token in
    the URL (SPEC 1.1), where proxies and logs see it: refused here, so that a
    sender's tests find it.
    """
    if not request.tokens:
        if request.error:             # the token may be in what is broken
            raise request.error
        raise MetaError(104, message="An access token is required to request "
                        "this resource")
    if "query" in request.token_places and not allow_in_url:
        raise MetaError(190, message="sandbox: the access token is in the "
                        "URL. Meta would take it; this sandbox does with "
                        "--allow-token-in-url")
    if any(token != request.tokens[0] for token in request.tokens):
        raise MetaError(190, status=401,
                        message="Conflicting OAuth access tokens")
    state = tokens.state(request.tokens[0], now)
    if state == "unknown":
        raise MetaError(190, status=401, message="Invalid OAuth access "
                        "token - Cannot parse access token")
    if state == "expired":
        raise MetaError(190, 463, status=401, message="Error validating "
                        "access token: Session has expired")
    if state == "revoked":
        raise MetaError(190, 467, status=401, message="Error validating "
                        "access token: The session was invalidated")


def check_proof(request, app_secret):
    """SPEC 1.2: HMAC-SHA256 of the token, key app secret, lower-case hex.

    Code 100 for a missing or wrong proof is a choice.
    """
    proof = request.params.get("appsecret_proof")
    if proof is None and app_secret is None:
        return
    if proof is None:
        raise MetaError(100, message="API calls from the server require an "
                        "appsecret_proof argument",
                        type_="GraphMethodException")
    good = type(proof) is str and PROOF.fullmatch(proof)
    if good and app_secret is not None:
        expected = hmac.new(app_secret.encode(), request.tokens[0].encode(),
                            hashlib.sha256).hexdigest()
        good = hmac.compare_digest(proof, expected)
    if not good:
        raise MetaError(100, message="Invalid appsecret_proof provided in "
                        "the API argument", type_="GraphMethodException")


def check_dataset(request, sandbox):
    """SPEC 8.4: 803 for an alias, 100/33 for unknown or not permitted."""
    dataset = request.dataset
    if not (dataset.isascii() and dataset.isdecimal()):
        raise MetaError(803, message="(#803) Some of the aliases you "
                        "requested do not exist")
    if not sandbox.has_dataset(dataset) \
            or not sandbox.tokens.may_use(request.tokens[0], dataset):
        raise unsupported(request)


def check_audience(request, sandbox):
    """As for a dataset; which token may change which list is not known."""
    if not (request.dataset.isascii() and request.dataset.isdecimal()):
        raise MetaError(803, message="(#803) Some of the aliases you "
                        "requested do not exist")
    if not sandbox.has_audience(request.dataset):
        raise unsupported(request)


def unsupported(request):
    return MetaError(100, errors.OBJECT_MISSING,
                     message="Unsupported %s request. The object does not "
                     "exist, cannot be loaded due to missing permissions, or "
                     "does not support this operation"
                     % request.method.lower()[:10],
                     type_="GraphMethodException")
