#!/usr/bin/env python3
"""Compare what the sandbox accepted with what the shop sold.

    compare.py SOLD.csv CONTROL_URL

Order by order and value by value, in both directions.  Exits with 0 only if
there is no difference at all.
"""

import csv
import decimal
import json
import sys
import urllib.request

SHOWN = 20


def read_sold(path):
    with open(path, encoding="utf-8", newline="") as file:
        return {row["event_id"]: row for row in csv.DictReader(file)}


def read_received(control_url):
    with urllib.request.urlopen(
            control_url + "/sandbox/events?limit=1000000") as answer:
        # Values as they were written: no detour over binary fractions.
        return json.load(answer, parse_float=decimal.Decimal)["events"]


def as_sold(event):
    """The received event in the terms of sold.sql."""
    custom = event["custom_data"]
    contents = custom.get("contents", [])
    return {
        "event_id": event["event_id"],
        "event_time": str(event["event_time"]),
        "value": decimal.Decimal(custom["value"]),
        "currency": custom["currency"].upper(),
        "contents": str(len(contents)),
        "pieces": str(sum(item["quantity"] for item in contents)),
        "em": "".join(event["user_data"]["em"]),
    }


def differences(sold, received):
    seen = set()
    for row in received:
        event_id = row["event_id"]
        seen.add(event_id)
        if event_id not in sold:
            yield "order %s was received but not sold" % event_id
            continue
        if row["count"] != 1:
            yield "order %s was received %d times" % (event_id, row["count"])
        expected = dict(sold[event_id])
        expected["value"] = decimal.Decimal(expected["value"])
        for name, value in as_sold(row["event"]).items():
            if value != expected[name]:
                yield "order %s: %s is %s, sold was %s" % (
                    event_id, name, value, expected[name])
    for event_id in sorted(sold.keys() - seen):
        yield "order %s was sold but not received" % event_id


def totals(rows):
    """Sums by currency, "EUR 12.50, USD 3.00"."""
    sums = {}
    for row in rows:
        currency = row["currency"]
        sums[currency] = sums.get(currency, 0) + decimal.Decimal(row["value"])
    return ", ".join("%s %s" % item for item in sorted(sums.items()))


def main():
    sold = read_sold(sys.argv[1])
    received = read_received(sys.argv[2])
    found = list(differences(sold, received))
    print("sold:     %4d orders,  %s" % (len(sold), totals(sold.values())))
    print("received: %4d events,  %s" % (
        sum(row["count"] for row in received),
        totals(as_sold(row["event"]) for row in received)))
    for line in found[:SHOWN]:
        print("  " + line)
    if len(found) > SHOWN:
        print("  and %d more" % (len(found) - SHOWN))
    if not sold:
        print("nothing was sold: that proves nothing")
    elif not found:
        print("equal: every order once, with its id, time, value, currency, "
              "contents and customer")
    return 1 if found or not sold else 0


if __name__ == "__main__":
    sys.exit(main())
