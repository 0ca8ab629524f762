"""Events as two well-known senders' own tests expect them.

example_events.jsonl has an event a line, where it is from, how it strays from
the documentation, and what the sandbox makes of it: the refusals in the order
in which they come when each is mended in turn, and the warnings at the end.
"""

import json
import os
import time
import unittest

from sandbox_client import HERE, SandboxTest, remove_certificates


def tearDownModule():
    remove_certificates()


def examples():
    path = os.path.join(HERE, "example_events.jsonl")
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def mend(event, changes):
    """{"custom_data.contents.0.id": "1"} sets that member."""
    for path, value in changes.items():
        *steps, last = path.split(".")
        place = event
        for step in steps:
            place = place[int(step) if step.isdecimal() else step]
        if value == "now":
            value = int(time.time())
        place[int(last) if last.isdecimal() else last] = value


class Examples(SandboxTest):
    def setUp(self):
        super().setUp()
        self.lines = examples()
        for line in self.lines:       # of today, but of the kind it was
            event = line["event"]
            event["event_time"] = type(event["event_time"])(int(time.time()))

    def test_each(self):
        self.assertEqual(len(self.lines), 30)
        for line in self.lines:
            with self.subTest(line["source"]):
                event = line["event"]
                for refusal in line["refusals"]:
                    self.refused(100, refusal["subcode"], [event],
                                 refusal.get("path"))
                    mend(event, refusal["mend"])
                self.accepted(event)
                self.assertEqual(set(self.last_request()["warnings"]),
                                 set(line["warnings"]))

    def test_one_of_them_sinks_the_others(self):
        good = [line["event"] for line in self.lines
                if not line["refusals"]]
        self.accepted(*good)
        for line in self.lines:
            if line["refusals"]:
                self.refused(100, line["refusals"][0]["subcode"],
                             good + [line["event"]])
                self.assertEqual(self.last_request()["error_event"],
                                 len(good))

    def test_notes_that_are_only_warnings(self):
        """What the notes say is not as documented and the API takes."""
        warned = {
            "website event without client_user_agent":
                "website_without_client_user_agent",
            "website event without event_source_url":
                "website_without_event_source_url",
            "partner_id/partner_name are not in Meta documentation":
                "undocumented_user_data_key"}
        for line in self.lines:
            for note, warning in warned.items():
                self.assertEqual(note in line["notes"],
                                 warning in line["warnings"], line["source"])


if __name__ == "__main__":
    unittest.main()
