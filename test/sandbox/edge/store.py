"""Everything the sandbox remembers: accepted events and requests.

Memory only, one lock.  Tokens appear in no answer and no log; a record names
the token used by its number.  Called by serve and control.
"""

import collections
import json
import threading
import time


class Kept:
    """request number -> something of a size; the oldest go when the sum of
    the sizes passes the budget."""

    def __init__(self, budget):
        self._budget = budget
        self._items = collections.OrderedDict()
        self._size = 0

    def put(self, number, item, size):
        self._items[number] = item, size
        self._size += size
        while self._size > self._budget:
            self._size -= self._items.popitem(last=False)[1][1]

    def get(self, number, default=None):
        return self._items.get(number, (default,))[0]


class Store:
    """Accepted events and all requests.

    keep_events bounds the events kept whole (the oldest lose their text, not
    their count), keep_requests the records, keep_bytes the bodies of requests.
    """

    MOST_IDS = 1000000                # kept to find requests by event_id

    def __init__(self, keep_events=100000, keep_requests=10000,
                 keep_bytes=64 * 1024 * 1024, log_path=None,
                 log_bodies=False):
        self.changed = threading.Condition()
        self.keep_events = keep_events
        self.keep_requests = keep_requests
        self.keep_bytes = keep_bytes
        self.log_bodies = log_bodies
        self._log = open(log_path, "a", encoding="utf-8") \
            if log_path else None
        self._log_lock = threading.Lock()
        self.clock_offset_s = 0.0
        self.connections_open = 0
        self.connections_total = 0
        self.tls_failures = 0
        self.internal_errors = 0
        self._open = 0
        self._next_request = 0
        self._clear()

    def _clear(self):
        # key: (dataset, event_name, event_id)
        # value: [count, first_at, last_at, index of last request, changed]
        self._counts = {}
        self._events = collections.OrderedDict()      # key -> last event
        self._requests = collections.deque(maxlen=self.keep_requests)
        self._ids = Kept(self.MOST_IDS)
        self._bodies = Kept(self.keep_bytes)
        self._totals = collections.Counter()
        self._by_code = collections.Counter()
        self._by_dataset = collections.Counter()
        self._hourly = collections.Counter()  # (dataset, hour, event name)
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

    # --- requests ---------------------------------------------------------

    def open_request(self, record, event_ids, headers, body):
        """Note a request that has arrived; it shows as "open" till closed."""
        with self.changed:
            self._next_request += 1
            number = record["request"] = self._next_request
            record["time"] = time.time()
            record["outcome"] = "open"
            record["_headers"] = headers
            self._requests.append(record)
            self._ids.put(number, event_ids, len(event_ids))
            self._bodies.put(number, body, len(body))
            self._totals["requests"] += 1
            self._totals["tokens_in_url"] += record["token_in_url"]
            self._totals["bytes"] += record["bytes"]
            self._open += 1
            self._note_most("open_requests", self._open)
            self._note_most("request_events", record["events"])
            self._note_most("request_bytes", record["bytes"])
            self.changed.notify_all()

    def _note_most(self, name, value):
        self._totals["most_" + name] = max(self._totals["most_" + name],
                                           value)

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
            self._open -= 1
            self._totals["requests_" + record["outcome"]] += 1
            if record["code"] is not None:
                self._by_code["%s/%s" % (record["code"],
                                         record["subcode"] or "-")] += 1
            self.changed.notify_all()
            line = self._shown(record) if self._log else None
        if line is not None:
            if self.log_bodies and events is not None:
                line["data"] = events
            with self._log_lock:
                self._log.write(json.dumps(line) + "\n")
                self._log.flush()

    # --- events -----------------------------------------------------------

    def accept(self, record, dataset, events, warnings):
        """Count the events of one accepted request, all or nothing."""
        now = time.time()
        with self.changed:
            hour = self._hour(self.now())
            for event in events:
                self._accept_event(record, dataset, event, now)
                self._hourly[dataset, hour, event["event_name"]] += 1
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

    @staticmethod
    def _hour(seconds):
        return int(seconds) // 3600 * 3600

    def count(self, dataset, hour, event_name, count):
        with self.changed:
            self._hourly[dataset, self._hour(hour), event_name] += count

    def hourly(self, dataset, start, end):
        """hour -> {event name: count} of server events (SPEC 9.1: by hours,
        the first hundred names), in the hour of their receipt (choice)."""
        with self.changed:
            hours = {}
            for (owner, hour, name), count in self._hourly.items():
                if owner == dataset and start < hour + 3600 and hour < end \
                        and count > 0:
                    hours.setdefault(hour, {})[name] = count
            return {hour: dict(collections.Counter(names).most_common(100))
                    for hour, names in sorted(hours.items())}

    def _accept_event(self, record, dataset, event, now):
        key = (dataset, event["event_name"], event.get("event_id"))
        entry = self._counts.get(key)
        if entry is None:
            self._counts[key] = [1, now, now, record["request"], 0]
        else:
            entry[0] += 1
            entry[2:4] = now, record["request"]
            if key[2]:                # without an id nothing is the same
                self._totals["duplicates"] += 1
                # SPEC 12.4: one id for many events; 12.7: a new fbc
                if self._events.get(key, event) != event:
                    entry[4] += 1
                    self._totals["changed_duplicates"] += 1
        self._events[key] = event
        self._events.move_to_end(key)
        self._by_event_name[event["event_name"]] += 1

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
                       "last_request": entry[3], "changed": entry[4]}
                if not brief:
                    row["event"] = self._events.get(key)
                rows.append(row)
            return {"count": len(items),
                    "total": sum(entry[0] for _, entry in items),
                    "events": rows}

    def requests(self, wanted, since, limit, headers):
        """Records numbered above since, oldest first; the last `limit`.
        wanted maps event_id or members of a record to the text looked for."""
        with self.changed:
            rows = [self._shown(record, headers)
                    for record in self._requests
                    if record["request"] > since
                    and self._is_wanted(record, wanted)]
            return {"count": len(rows),
                    "requests": rows[-limit:] if limit else []}

    def _is_wanted(self, record, wanted):
        return all(
            value in self._ids.get(record["request"], ())
            if name == "event_id" else str(record[name]) == value
            for name, value in wanted.items())

    @staticmethod
    def _shown(record, headers=False):
        shown = {name: value for name, value in record.items()
                 if name[0] != "_"}
        if headers:
            shown["headers"] = record["_headers"]
        return shown

    def body(self, number):
        """The body of a request, without a token; None if not kept."""
        with self.changed:
            return self._bodies.get(number)

    def stats(self):
        with self.changed:
            totals = self._totals
            return {
                "events": totals["events"],
                "distinct_events": len(self._counts),
                "duplicates": totals["duplicates"],
                "changed_duplicates": totals["changed_duplicates"],
                "requests": totals["requests"],
                "outcomes": {
                    name[len("requests_"):]: count
                    for name, count in totals.items()
                    if name.startswith("requests_")},
                "open_requests": self._open,
                "most_open_requests": totals["most_open_requests"],
                "tokens_in_url": totals["tokens_in_url"],
                "by_code": dict(self._by_code),
                "by_dataset": dict(self._by_dataset),
                "by_event_name": dict(self._by_event_name.most_common(100)),
                "warnings": dict(self._warnings),
                "bytes": totals["bytes"],
                "largest_request_events": totals["most_request_events"],
                "largest_request_bytes": totals["most_request_bytes"],
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
