"""One request to the edge, as far as it can be understood.

parse() never raises: what is wrong is kept in Request.error, so that a
request can be recorded, and matched by planned failures, before it is judged.
Called by serve.
"""

import json
import re
import urllib.parse

from .errors import MetaError, parameter_error

LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
ROOTS = ("debug_token", "dataset_quality")
EDGES = ("events", "stats", "users")
MAX_DEPTH = 500                       # of JSON; Python's own differs by version
JSON_MARK = re.compile(r'"(?:[^"\\]|\\.)*"?|[][{}]')
JSON_PARAMETERS = frozenset(("data", "platforms", "progress", "trace",
                             "payload", "session"))


class Request:
    def __init__(self):
        self.method = "POST"
        self.version = None           # "v25.0"
        self.steps = []               # of the path, without the version
        self.params = {}              # top-level parameters, merged
        self.tokens = []              # every token given
        self.token_places = []        # "header", "body", "query"
        self.error = None             # MetaError found while parsing
        self.in_url = frozenset()     # names of parameters in the URL
        self.content_type = None

    @property
    def call(self):
        """What is asked for, in one word; for records and matching."""
        if len(self.steps) == 1 and self.steps[0]:
            return self.steps[0] if self.steps[0] in ROOTS else "dataset"
        if len(self.steps) == 2 and self.steps[0] not in ROOTS \
                and self.steps[0] and self.steps[1] in EDGES:
            return self.steps[1]
        return "other"

    @property
    def dataset(self):
        """The id in the path, if there is one."""
        if self.steps and self.steps[0] and self.steps[0] not in ROOTS:
            return self.steps[0]
        return None

    @property
    def events(self):
        """The events as far as they are a list; for records and matching."""
        data = self.params.get("data")
        return data if type(data) is list else []

    def event_ids(self):
        return [event.get("event_id") for event in self.events
                if type(event) is dict
                and type(event.get("event_id")) is str]

    def shown_body(self, body):
        """The body as it came; but one with a token in it as the JSON of its
        parameters without the token, or not at all if it is broken."""
        if "body" in self.token_places:
            return json.dumps(self.params).encode()
        if "input_token" in self.params \
                or self.error and (b"access_token" in body
                                   or b"input_token" in body):
            return b""
        return body


def parse(method, target, headers, body):
    """Build a Request from what arrived; never raises."""
    request = Request()
    request.method = method
    path, _, query = target.partition("?")
    steps = [urllib.parse.unquote(step, errors="replace")
             for step in path.split("/")[1:]]
    if steps and re.fullmatch(r"v[0-9.]+", steps[0]):
        request.version = steps.pop(0)
    request.steps = steps
    try:
        parse_token_header(request, headers.get("Authorization"))
        merge(request, decode_form(parse_form_text(query)), "query")
        request.in_url = frozenset(request.params)
        merge(request, parse_body(request, headers, body), "body")
        override_method(request)
    except MetaError as error:
        request.error = error
    except (ValueError, RecursionError, LookupError, UnicodeError):
        request.error = parameter_error("The request could not be parsed")
    return request


def override_method(request):
    """A POST of a form may say that it is a GET, as Meta's PHP library long
    sent all of its requests; not in SPEC."""
    if request.method == "POST" \
            and request.content_type == "application/x-www-form-urlencoded" \
            and request.params.get("method", "").lower() == "get":
        del request.params["method"]
        request.method = "GET"


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
    if not body and request.method in ("GET", "HEAD"):
        return {}
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
    import email                      # seldom used, slow to load
    import email.policy

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
        elif name in JSON_PARAMETERS:
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
        text = raw.decode("utf-8")
        refuse_depth(text)
        value = json.loads(text, object_pairs_hook=unique_keys,
                           parse_constant=refuse_constant,
                           parse_int=bounded_int)
        if LONE_SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError):
        raise parameter_error("Invalid JSON") from None


def refuse_depth(text):
    """Brackets within brackets, those in strings left out."""
    depth = 0
    for mark in JSON_MARK.findall(text):
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("nested too deep")
        elif mark in "]}":
            depth -= 1


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
