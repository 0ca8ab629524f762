"""Everything the sandbox remembers: accepted events, requests, tokens.

Memory only, one lock.  Tokens appear in no answer and no log; a record names
the token used by its number.  Called by httpd and control.
"""

import collections
import json
import threading
import time


class Tokens:
    """Known tokens.  A token may be limited to some datasets."""

    def __init__(self, names=()):
        self._lock = threading.Lock()
        self._known = {}              # token -> [number, state, datasets]
        for name in names:
            self.add(name)

    def add(self, token, datasets=None):
        """Make a token good, also one that was revoked or expired."""
        with self._lock:
            number = len(self._known) + 1
            if token in self._known:
                number = self._known[token][0]
            self._known[token] = [
                number, "active",
                None if datasets is None else frozenset(datasets)]

    def spoil(self, token, state):
        """state is "revoked" or "expired"; an unknown token stays so."""
        with self._lock:
            if token not in self._known:
                return False
            self._known[token][1] = state
            return True

    def state(self, token):
        with self._lock:
            entry = self._known.get(token) if type(token) is str else None
            return entry[1] if entry else "unknown"

    def may_use(self, token, dataset):
        with self._lock:
            allowed = self._known[token][2]
            return allowed is None or dataset in allowed

    def number(self, token):
        with self._lock:
            entry = self._known.get(token) if type(token) is str else None
            return entry[0] if entry else None

    def counts(self):
        with self._lock:
            return dict(collections.Counter(
                entry[1] for entry in self._known.values()))


class Store:
    """Accepted events and all requests.

    keep_events bounds the events kept whole (the oldest lose their text, not
    their count), keep_requests the records.
    """

    def __init__(self, keep_events=100000, keep_requests=10000,
                 log_path=None, log_bodies=False):
        self.changed = threading.Condition()
        self.keep_events = keep_events
        self.keep_requests = keep_requests
        self.log_bodies = log_bodies
        self._log = open(log_path, "a", encoding="utf-8") \
            if log_path else None
        self._log_lock = threading.Lock()
        self.clock_offset_s = 0.0
        self.connections_open = 0
        self.connections_total = 0
        self.tls_failures = 0
        self.internal_errors = 0
        self._next_request = 0
        self._clear()

    def _clear(self):
        # key: (dataset, event_name, event_id)
        # value: [count, first_at, last_at, index of last request]
        self._counts = {}
        self._events = collections.OrderedDict()      # key -> last event
        self._requests = collections.deque(maxlen=self.keep_requests)
        self._totals = collections.Counter()
        self._by_code = collections.Counter()
        self._by_dataset = collections.Counter()
        self._by_event_name = collections.Counter()
        self._warnings = collections.Counter()
        self._first_at = self._last_at = None

    def now(self):
        """Meta's clock as the sandbox plays it (POST /sandbox/clock)."""
        return time.time() + self.clock_offset_s

    def reset(self):
        """Forget events, requests and counters; tokens stay."""
        with self.changed:
            self._clear()
            self.changed.notify_all()

    # --- writing ----------------------------------------------------------

    def open_request(self, record):
        """Note a request that has arrived; it shows as "open" till closed."""
        with self.changed:
            self._next_request += 1
            record["request"] = self._next_request
            record["time"] = time.time()
            record["outcome"] = "open"
            self._requests.append(record)
            self._totals["requests"] += 1
            self._totals["bytes"] += record["bytes"]
            self._totals["largest_request_events"] = max(
                self._totals["largest_request_events"], record["events"])
            self._totals["largest_request_bytes"] = max(
                self._totals["largest_request_bytes"], record["bytes"])
            self.changed.notify_all()

    def update_request(self, record, **changes):
        with self.changed:
            record.update(changes)
            self.changed.notify_all()

    def close_request(self, record, events=None, **changes):
        """Note how it ended, and write the log line; once."""
        with self.changed:
            record.update(changes)
            if "duration_ms" in record:
                return
            record["duration_ms"] = round(
                (time.time() - record["time"]) * 1000, 3)
            self._totals["requests_" + record["outcome"]] += 1
            if record["code"] is not None:
                self._by_code["%s/%s" % (record["code"],
                                         record["subcode"] or "-")] += 1
            self.changed.notify_all()
            line = dict(record) if self._log else None
        if line is not None:
            if self.log_bodies and events is not None:
                line["data"] = events
            with self._log_lock:
                self._log.write(json.dumps(line) + "\n")
                self._log.flush()

    def accept(self, record, dataset, events, warnings):
        """Count the events of one accepted request, all or nothing."""
        now = time.time()
        with self.changed:
            for event in events:
                key = (dataset, event["event_name"], event.get("event_id"))
                entry = self._counts.get(key)
                if entry is None:
                    self._counts[key] = [1, now, now, record["request"]]
                else:
                    entry[0] += 1
                    entry[2:] = now, record["request"]
                    self._totals["duplicates"] += 1
                self._events[key] = event
                self._events.move_to_end(key)
                self._by_event_name[event["event_name"]] += 1
            while len(self._events) > self.keep_events:
                self._events.popitem(last=False)
            self._totals["events"] += len(events)
            self._by_dataset[dataset] += len(events)
            self._warnings.update(warnings)
            self._first_at = self._first_at or now
            self._last_at = now
            record["accepted"] = len(events)
            record["warnings"] = dict(warnings)
            self.changed.notify_all()

    # --- reading ----------------------------------------------------------

    def events(self, wanted, limit, brief):
        """Accepted events; wanted maps dataset, event_name, event_id to the
        value looked for."""
        with self.changed:
            if len(wanted) == 3:
                key = (wanted["dataset"], wanted["event_name"],
                       wanted["event_id"])
                items = [(key, self._counts[key])] \
                    if key in self._counts else []
            else:
                names = ("dataset", "event_name", "event_id")
                tests = [(names.index(name), value)
                         for name, value in wanted.items()]
                items = [(key, entry)
                         for key, entry in self._counts.items()
                         if all(key[place] == value
                                for place, value in tests)]
            rows = []
            for key, entry in items[:limit]:
                row = {"dataset": key[0], "event_name": key[1],
                       "event_id": key[2], "count": entry[0],
                       "first_at": entry[1], "last_at": entry[2],
                       "last_request": entry[3]}
                if not brief:
                    row["event"] = self._events.get(key)
                rows.append(row)
            return {"count": len(items),
                    "total": sum(entry[0] for _, entry in items),
                    "events": rows}

    def requests(self, since, limit):
        """Records numbered above since, oldest first; the last `limit`."""
        with self.changed:
            rows = [dict(record) for record in self._requests
                    if record["request"] > since]
            return {"count": len(rows),
                    "requests": rows[-limit:] if limit else []}

    def stats(self):
        with self.changed:
            return {
                "events": self._totals["events"],
                "distinct_events": len(self._counts),
                "duplicates": self._totals["duplicates"],
                "requests": self._totals["requests"],
                "outcomes": {
                    name[len("requests_"):]: count
                    for name, count in self._totals.items()
                    if name.startswith("requests_")},
                "open_requests": sum(
                    1 for record in self._requests
                    if record["outcome"] in ("open", "hanging")),
                "by_code": dict(self._by_code),
                "by_dataset": dict(self._by_dataset),
                "by_event_name": dict(self._by_event_name.most_common(100)),
                "warnings": dict(self._warnings),
                "bytes": self._totals["bytes"],
                "largest_request_events":
                    self._totals["largest_request_events"],
                "largest_request_bytes":
                    self._totals["largest_request_bytes"],
                "first_event_at": self._first_at,
                "last_event_at": self._last_at,
                "connections": self.connections_total,
                "connections_open": self.connections_open,
                "tls_failures": self.tls_failures,
                "internal_errors": self.internal_errors,
                "clock_offset_s": self.clock_offset_s,
            }

    def wait(self, goals, timeout_s):
        """Until the counters reach goals; says whether they did."""
        def reached():
            return all(self._progress(name) >= goal
                       for name, goal in goals.items())
        with self.changed:
            return self.changed.wait_for(reached, timeout_s)

    def _progress(self, name):
        if name == "distinct_events":
            return len(self._counts)
        if name == "hanging":
            return sum(1 for record in self._requests
                       if record["outcome"] == "hanging")
        if name == "answered":
            return sum(count for key, count in self._totals.items()
                       if key.startswith("requests_"))
        return self._totals[name]     # "events", "requests"
