"""Custom audiences: POST and DELETE /{custom audience id}/users (SPEC 9.4).

Bad rows are counted and do not sink the others; a request that does not fit the
schema, or its session, is refused whole.  Called by graph; control shows what
is in a list.
"""

import re
import threading

from .errors import MetaError, parameter_error

HASHED = ("EMAIL", "EMAIL_SHA256", "PHONE", "PHONE_SHA256", "GEN", "DOBY",
          "DOBM", "DOBD", "LN", "FN", "FI", "CT", "ST", "ZIP", "COUNTRY")
PLAIN = ("MADID", "EXTERN_ID", "LOOKALIKE_VALUE")
PAYLOAD = ("schema", "data", "is_raw", "app_ids", "page_ids", "data_source")
SESSION = ("session_id", "batch_seq", "last_batch_flag",
           "estimated_num_total")
MOST_ROWS = 10000
MOST_SAMPLES = 5
HASH = re.compile(r"[0-9a-f]{64}")


class Audiences:
    """Lists by id.  A row is the set of its keys and values, as they came."""

    def __init__(self):
        self._lock = threading.Lock()
        self.clear()

    def clear(self):
        with self._lock:
            self._rows = {}           # audience -> {row: None}
            self._sessions = {}       # (audience, session_id) -> its facts
            self._invalid = {}        # audience -> count

    def change(self, audience, method, rows, session, invalid):
        with self._lock:
            kept = self._rows.setdefault(audience, {})
            self._note_session(audience, method, session, hash(tuple(rows)))
            for row in rows:
                if method == "POST":
                    kept[row] = None
                else:
                    kept.pop(row, None)
            self._invalid[audience] = self._invalid.get(audience, 0) + invalid

    def _note_session(self, audience, method, session, content):
        """Batches of a session count up from 1; the last one may be repeated
        as it was, and after the one with the flag there is no other."""
        if session is None:
            return
        key = (audience, session["session_id"])
        known = self._sessions.get(key)
        seq = session["batch_seq"]
        if known is None:
            if seq != 1:
                raise session_error("a session begins with batch_seq 1")
            known = self._sessions[key] = {"method": method, "seq": 0,
                                           "ended": False,
                                           "content": None}
        if known["method"] != method:
            raise session_error("a session adds or removes, not both")
        if seq not in (known["seq"], known["seq"] + 1):
            raise session_error("batch_seq %d after %d" % (seq, known["seq"]))
        if known["ended"] and seq != known["seq"]:
            raise session_error("the session has ended")
        if seq == known["seq"] and content != known["content"]:
            raise session_error("batch_seq %d with other people" % seq)
        known["seq"] = seq
        known["content"] = content
        known["ended"] = session["last_batch_flag"]

    def show(self, limit):
        with self._lock:
            return {audience: {
                "members": len(rows),
                "rows": [dict(row) for row in list(rows)[:limit]],
                "invalid": self._invalid.get(audience, 0),
                "sessions": [{"session_id": key[1],
                              "method": facts["method"],
                              "seq": facts["seq"], "ended": facts["ended"]}
                             for key, facts in self._sessions.items()
                             if key[0] == audience]}
                for audience, rows in self._rows.items()}


def session_error(why):
    return MetaError(2650, message="(#2650) Failed to update the custom "
                     "audience: " + why)


def users(request, sandbox):
    """The answer of SPEC 9.4."""
    if request.error:
        raise request.error
    for name in request.params:
        if name not in ("payload", "session", "appsecret_proof"):
            raise parameter_error("Unknown parameter")
    schema, data = check_payload(request.params.get("payload"))
    session = check_session(request.params.get("session"))
    rows, samples, invalid = [], [], 0
    for cells in data:
        row = check_row(schema, cells)
        if row is None:
            invalid += 1
            samples = (samples + [{"row": len(samples)}])[:MOST_SAMPLES]
        else:
            rows.append(row)
    sandbox.audiences.change(request.dataset, request.method, rows, session,
                             invalid)
    return {"audience_id": request.dataset,
            "session_id": str(session["session_id"]) if session else "0",
            "num_received": len(data), "num_invalid_entries": invalid,
            "invalid_entry_samples": samples}


def check_payload(payload):
    if type(payload) is not dict:
        raise parameter_error("payload must be an object")
    for name in payload:
        if name not in PAYLOAD:
            raise parameter_error("payload has an unknown member")
    schema = payload.get("schema")
    schema = [schema] if type(schema) is str else schema
    if type(schema) is not list or not schema \
            or any(key not in HASHED + PLAIN for key in schema) \
            or len(set(schema)) != len(schema):
        raise parameter_error("schema must be a key or a list of known keys")
    data = payload.get("data")
    if type(data) is not list or not data:
        raise parameter_error("data must be a list of rows")
    if len(data) > MOST_ROWS:
        raise parameter_error("data has more than %d rows" % MOST_ROWS)
    for cells in data:
        if type(cells) is not list or len(cells) != len(schema) \
                or any(type(cell) is not str for cell in cells):
            raise parameter_error("a row must have a text for each key")
    return schema, data


def check_session(session):
    if session is None:
        return None
    if type(session) is not dict:
        raise parameter_error("session must be an object")
    for name in session:
        if name not in SESSION:
            raise parameter_error("session has an unknown member")
    for name, least in (("session_id", 1), ("batch_seq", 1)):
        if type(session.get(name)) is not int or session[name] < least \
                or session[name] >= 2 ** 63:
            raise parameter_error("%s must be a number from 1" % name)
    if type(session.get("last_batch_flag")) is not bool:
        raise parameter_error("last_batch_flag must be true or false")
    total = session.get("estimated_num_total", 0)
    if type(total) is not int or total < 0:
        raise parameter_error("estimated_num_total must be a number")
    return session


def check_row(schema, cells):
    """The row without its empty cells, or None for one that is none."""
    row = tuple((key, cell) for key, cell in zip(schema, cells) if cell)
    if not row or any(key in HASHED and not HASH.fullmatch(cell)
                      for key, cell in row):
        return None
    return row
