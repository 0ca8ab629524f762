"""Access tokens: which are known, for which datasets, until when.

Memory only.  A token appears in no answer and no log; records name it by its
number.  Called by access, nodes, serve and control.
"""

import collections
import threading
import time


# What a token made in Events Manager may (SPEC 9.2, 9.3).
SCOPES = ("read_ads_dataset_quality",)
KNOWN_SCOPES = SCOPES + ("ads_read", "ads_management")


class Tokens:
    def __init__(self, names=()):
        self._lock = threading.Lock()
        self._known = {}              # token -> its facts
        for name in names:
            self.add(name)

    def add(self, token, datasets=None, expires_at=None, scopes=SCOPES):
        """Make a token good, also one that was revoked or expired.  It may be
        limited to some datasets, and to a time, and have other rights than
        one made in Events Manager."""
        with self._lock:
            old = self._known.get(token)
            self._known[token] = {
                "number": old["number"] if old else len(self._known) + 1,
                "state": "active", "added_at": int(time.time()),
                "expires_at": expires_at, "scopes": tuple(scopes),
                "datasets": None if datasets is None
                else frozenset(datasets)}

    def spoil(self, token, state):
        """state is "revoked" or "expired"; an unknown token stays so."""
        with self._lock:
            if token not in self._known:
                return False
            self._known[token]["state"] = state
            return True

    def facts(self, token):
        with self._lock:
            facts = self._known.get(token) if type(token) is str else None
            return dict(facts) if facts else None

    def state(self, token, now):
        facts = self.facts(token)
        if facts is None:
            return "unknown"
        if facts["state"] == "active" and facts["expires_at"] is not None \
                and facts["expires_at"] <= now:
            return "expired"
        return facts["state"]

    def may_use(self, token, dataset):
        datasets = self.facts(token)["datasets"]
        return datasets is None or dataset in datasets

    def number(self, token):
        facts = self.facts(token)
        return facts["number"] if facts else None

    def counts(self):
        with self._lock:
            return dict(collections.Counter(
                facts["state"] for facts in self._known.values()))
