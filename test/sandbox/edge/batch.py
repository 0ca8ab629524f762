"""Whether one request is acceptable: path, token, body, dataset, events.

parse() never raises: what is wrong is kept in Request.error so that a
request can be recorded and matched by planned failures first.  process()
decides, in this order (choice): version, path, method, token, proof,
dataset, body, top level, events.  Called by httpd; keeps nothing itself.
"""

import email
import email.policy
import hashlib
import hmac
import json
import re
import urllib.parse

from . import errors
from . import fields
from . import rules
from .errors import MetaError, parameter_error, schema_error

MAX_EVENTS = 1000                     # SPEC 1.3
OLDEST_VERSION = 21                   # SPEC 7: v20.0 expired 2026-09-24
NEWEST_VERSION = 26
VERSION = re.compile(r"v([0-9]{1,3})\.0")
LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")


class Request:
    """One request to the edge, as far as it could be understood."""

    def __init__(self):
        self.method = "POST"
        self.version = None           # "v25.0"
        self.dataset = None
        self.edge = None              # "events"
        self.params = {}              # top-level parameters, merged
        self.tokens = []              # every token given
        self.token_places = []        # "header", "body", "query"
        self.error = None             # MetaError found while parsing
        self.content_type = None

    @property
    def events(self):
        """The events as far as they are a list; for records and matching."""
        data = self.params.get("data")
        return data if type(data) is list else []


# --- parsing --------------------------------------------------------------

def parse(method, target, headers, body):
    """Build a Request from what arrived; never raises."""
    request = Request()
    request.method = method
    path, _, query = target.partition("?")
    steps = [urllib.parse.unquote(step, errors="replace")
             for step in path.split("/")[1:]]
    if steps and re.fullmatch(r"v[0-9.]+", steps[0]):
        request.version = steps.pop(0)
    if steps and steps[0]:
        request.dataset = steps.pop(0)
    request.edge = "/".join(steps) or None
    try:
        parse_token_header(request, headers.get("Authorization"))
        merge(request, decode_form(parse_form_text(query)), "query")
        merge(request, parse_body(request, headers, body), "body")
    except MetaError as error:
        request.error = error
    except (ValueError, RecursionError, LookupError, UnicodeError):
        request.error = parameter_error("The request could not be parsed")
    return request


def parse_token_header(request, header):
    """Authorization: Bearer ... (SPEC 1.1)."""
    if header is None:
        return
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        request.tokens.append(token.strip())
        request.token_places.append("header")


def merge(request, params, place):
    """Add parameters of one place; the token is taken out of them."""
    for name, value in params.items():
        if name == "access_token":
            request.tokens.append(value)
            request.token_places.append(place)
        elif name in request.params:
            raise parameter_error("A parameter was given twice")
        else:
            request.params[name] = value


def parse_body(request, headers, body):
    """The three forms of SPEC 1.1; any other carries no parameters."""
    content_type = headers.get("Content-Type", "")
    kind = content_type.partition(";")[0].strip().lower()
    request.content_type = kind
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise parameter_error("Content-Encoding is not supported")
    if kind == "application/json":
        params = parse_json(body)
        if type(params) is not dict:
            raise parameter_error("The body must be a JSON object")
        return params
    if kind == "application/x-www-form-urlencoded":
        return decode_form(parse_form_text(body.decode("utf-8")))
    if kind == "multipart/form-data":
        return decode_form(parse_multipart(content_type, body))
    return {}


def parse_form_text(text):
    return urllib.parse.parse_qsl(text, keep_blank_values=True,
                                  errors="strict", max_num_fields=5000)


def parse_multipart(content_type, body):
    """(name, text) of every part."""
    message = email.message_from_bytes(
        b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
        + body, policy=email.policy.HTTP)
    pairs = []
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            text = part.get_payload(decode=True) or b""
            pairs.append((name, text.decode("utf-8")))
    return pairs


def decode_form(pairs):
    """Form texts to values: data and other structures hold JSON text."""
    params = {}
    listed = []
    for name, text in pairs:
        if re.fullmatch(r"data\[[0-9]*\]", name):
            listed.append(text)
        elif name in params:
            raise parameter_error("A parameter was given twice")
        elif name in ("data", "platforms", "progress", "trace"):
            params[name] = parse_json(text.encode())
        else:
            params[name] = text
    if listed:
        params["data"] = listed
    # SPEC 1.1: data may be a list of strings, each one JSON event
    if type(params.get("data")) is list:
        params["data"] = [
            parse_json(item.encode()) if type(item) is str else item
            for item in params["data"]]
    return params


def parse_json(raw):
    """Strict JSON: UTF-8, no doubled keys, no NaN, no lone surrogates."""
    try:
        value = json.loads(raw.decode("utf-8"),
                           object_pairs_hook=unique_keys,
                           parse_constant=refuse_constant,
                           parse_int=bounded_int)
        if LONE_SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError):
        raise parameter_error("Invalid JSON") from None


def unique_keys(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("doubled key")
    return members


def refuse_constant(name):
    raise ValueError(name)


def bounded_int(text):
    """Endless digits would cost quadratic time; no field needs them."""
    return int(text) if len(text) <= 40 else float(text)


# --- deciding -------------------------------------------------------------

def process(request, tokens, datasets, app_secret, now):
    """Return Warnings if the whole request is acceptable, else raise."""
    check_version(request)
    check_path(request)
    check_token(request, tokens)
    check_proof(request, app_secret)
    check_dataset(request, tokens, datasets)
    if request.error:
        raise request.error
    check_top_level(request.params)
    warnings = rules.check_events(request.params["data"], now)
    if "query" in request.token_places:
        warnings.add("token_in_url")
    if "test_event_code" in request.params:
        # SPEC 1.2: counted all the same; must go in production
        warnings.add("test_event_code")
    return warnings


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


def check_path(request):
    if request.edge != "events" or not request.dataset:
        raise MetaError(2500, message="(#2500) Unknown path components")
    if request.method != "POST":      # SPEC 1.1: the edge accepts POST only
        raise MetaError(100, errors.OBJECT_MISSING,
                        message="Unsupported %s request"
                        % request.method.lower()[:10],
                        type_="GraphMethodException")


def check_token(request, tokens):
    """104 without, 190 for a bad one (SPEC 8.4); 401 as seen in SPEC 8.3.

    Several tokens in one request must agree (choice).
    """
    if not request.tokens:
        if request.error:             # the token may be in what is broken
            raise request.error
        raise MetaError(104, message="An access token is required to request "
                        "this resource")
    if any(token != request.tokens[0] for token in request.tokens):
        raise MetaError(190, status=401,
                        message="Conflicting OAuth access tokens")
    state = tokens.state(request.tokens[0])
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
    good = type(proof) is str and rules.SHA256.fullmatch(proof)
    if good and app_secret is not None:
        expected = hmac.new(app_secret.encode(), request.tokens[0].encode(),
                            hashlib.sha256).hexdigest()
        good = hmac.compare_digest(proof, expected)
    if not good:
        raise MetaError(100, message="Invalid appsecret_proof provided in "
                        "the API argument", type_="GraphMethodException")


def check_dataset(request, tokens, datasets):
    """SPEC 8.4: 803 for an alias, 100/33 for unknown or not permitted."""
    if not (request.dataset.isascii() and request.dataset.isdecimal()):
        raise MetaError(803, message="(#803) Some of the aliases you "
                        "requested do not exist")
    if datasets and request.dataset not in datasets \
            or not tokens.may_use(request.tokens[0], request.dataset):
        raise MetaError(100, errors.OBJECT_MISSING,
                        message="Unsupported post request. The object does "
                        "not exist, cannot be loaded due to missing "
                        "permissions, or does not support this operation",
                        type_="GraphMethodException")


def check_top_level(params):
    """SPEC 1.2 and 1.3."""
    for name, value in params.items():
        if name not in fields.TOP_LEVEL:
            raise schema_error((name,), "is not a known parameter")
        check = fields.TOP_LEVEL[name]
        wrong = check(value) if check else None
        if wrong:
            raise schema_error((name,), wrong)
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
