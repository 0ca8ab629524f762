"""Every member of every object, once as the fact sheet has it and once not.

The tables below were written from the fact sheet, not from edge/fields.py; the
last test compares the two, so that no member goes without its examples.
What the values mean is in test_sandbox_rules.py.
"""

import time
import unittest

from edge import fields, kinds
from sandbox_client import (EM, SandboxTest, event, remove_certificates,
                            sha256)

SCHEMA = 2804019
NOT_HASHED = 2804016
NOW = int(time.time()) - 60
FBCLID = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"

# Values that are of no kind the member takes.
NO_STRING = (5, 1.5, True, None, [], {}, ["x"])
NO_STRINGS = (5, 1.5, True, None, {}, [5], [None], ["x", 5], [[]])
NO_LIST_OF_STRINGS = ("x", 5, True, None, {}, [5], ["x", None])
NO_INTEGER = ("5", 1.5, True, None, [], {}, "")
NO_NUMBER = ("5", True, None, [], {}, "")
NO_BOOLEAN = ("true", 0, 1, None, [], {}, "")
NO_FLAG = (2, -1, "1", True, False, None, [], 0.0)
NO_OBJECT = ("{}", 5, True, None, [], [{}])


def one_of(*words):
    """(good, bad) of a member with fixed values."""
    return words, (*NO_STRING, "", words[0].upper(), words[0] + " ",
                   "surprise")


ANY_TEXT = (("x", "Größe 38", "a" * 500, ""), NO_STRING)
TEXT = (("x", "Größe 38"), (*NO_STRING, ""))
DELIVERY = one_of("in_store", "curbside", "home_delivery")
SEGMENTS = one_of(
    "new_customer_to_business", "new_customer_to_business_line",
    "new_customer_to_product_area", "new_customer_to_medium",
    "existing_customer_to_business", "existing_customer_to_business_line",
    "existing_customer_to_product_area", "existing_customer_to_medium",
    "customer_in_loyalty_program")

REQUEST = {                           # 1.2
    "test_event_code": TEXT,
    "partner_agent": (("plshop", "shop-1.0", "a" * 22, "ab-1"),
                      (*NO_STRING, "", "a" * 23, "a-12", "12345")),
    "namespace_id": (("12",), NO_STRING),
    "upload_id": (("12",), NO_STRING),
    "upload_tag": ANY_TEXT,
    "upload_source": ANY_TEXT,
    "platforms": (([], [{"name": "x", "type": "y", "version": "1"}], [{}]),
                  ("x", {}, 5, ["x"], [{"name": 5}], [{"surprise": "x"}])),
    "progress": (({"start_inclusive": 0, "end_exclusive": 2 ** 63 - 1}, {}),
                 (*NO_OBJECT, {"start_inclusive": "0"},
                  {"end_exclusive": 2 ** 63}, {"surprise": 1})),
    "trace": ((0, 17), (*NO_INTEGER, -1)),
}

EVENT = {                             # 2
    "event_name": (("Purchase", "My own name", "Größe"), (*NO_STRING, "")),
    "event_time": ((NOW,), (str(NOW), NOW + 0.5, True, None, [], "")),
    "user_data": (({"em": EM},), NO_OBJECT),
    "action_source": (
        ("email", "website", "phone_call", "chat", "physical_store",
         "system_generated", "other"),
        (*NO_STRING, "", "Website", "web", "in_store")),
    "event_id": (("17", "a b/ü", ""), NO_STRING),
    "event_source_url": (("https://shop.example/?a=b",), NO_STRING),
    "referrer_url": (("https://search.example/",), NO_STRING),
    "custom_data": (({"value": 1, "currency": "EUR"},), NO_OBJECT),
    "opt_out": ((True, False), NO_BOOLEAN),
    "data_processing_options": (([],), ("LDU", 5, None, {}, ["ldu"], [""],
                                        ["LDU", "LDU"], [5])),
    "data_processing_options_country": ((), (*NO_INTEGER, 2, -1, 49)),
    "data_processing_options_state": ((0,), (*NO_INTEGER, 1, 999, 1014)),
    "app_data": (({},), NO_OBJECT),
    "original_event_data": (({},), NO_OBJECT),
    "attribution_data": (({},), NO_OBJECT),
    "messaging_channel": one_of("whatsapp", "messenger", "instagram"),
    "customer_segmentation": SEGMENTS,
    "advanced_measurement_table": ANY_TEXT,
}

USER_DATA = {                         # 3.2, without those that are hashed
    "external_id": (("customer 7", ["a", "b"], EM, [EM + ".AQQCAQMC"], []),
                    NO_STRINGS),
    "client_ip_address": (
        ("192.0.2.1", "2001:db8::1", "::1"),
        (*NO_STRING, "", "192.0.2.1 ", " 192.0.2.1", "192.0.2.256",
         "192.0.2.0/24", "fe80::1%1", "unknown", "192.0.2.1, 192.0.2.2")),
    "client_user_agent": (("Mozilla/5.0 (X11; Linux x86_64)", ""),
                          NO_STRING),
    "fbc": (("fb.1.1554763741205." + FBCLID,), NO_STRING),
    "fbp": (("fb.1.1558571054389.1098115397",), NO_STRING),
    "subscription_id": ANY_TEXT,
    "fb_login_id": ((0, 12345678901234567), (*NO_INTEGER, -1)),
    "lead_id": ((525645896321548,), NO_INTEGER),
    "madid": ANY_TEXT,
    "anon_id": ANY_TEXT,
    "page_id": (("12",), NO_STRING),
    "page_scoped_user_id": (("12",), NO_STRING),
    "ctwa_clid": ANY_TEXT,
    "ig_account_id": (("12",), NO_STRING),
    "ig_sid": (("12",), NO_STRING),
    "whatsapp_business_account_id": (("12",), NO_STRING),
    "partner_id": ANY_TEXT,
    "partner_name": ANY_TEXT,
}

NO_HASHES = (
    "jane@example.com", EM.upper(), EM[:-1], EM + "0", "", " " + EM,
    EM + "\n", "0x" + EM[2:], "g" + EM[1:], EM + ".",
    "d41d8cd98f00b204e9800998ecf8427e",             # MD5, 3.3
    "0d4b8c2a-3c57-4f0e-9d43-8c0e5a6b7c8d")
HASHED_LISTS = ("em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp",
                "country")
HASHED_STRINGS = ("app_user_id", "f5first", "f5last", "fi", "dobd", "dobm",
                  "doby")

CUSTOM_DATA = {                       # 4
    "value": ((1, 1.25, 0, "12.50", "-3", 10 ** 15),
              (True, None, [], {}, [1], "", "12,50", "1e3", "12.50 EUR",
               " 1", "1.", ".5", "NaN", "0x10")),
    "currency": (("EUR", "usd", "Jpy", "HRK", "XAU"),
                 (*NO_STRING, "", "EURO", "EU", "€", "XYZ", "E R", "eur ",
                  "DEM", "MRO", "XX" "X", "XTS")),
    "content_ids": ((["a", "b"], []), NO_LIST_OF_STRINGS),
    "contents": (([], [{"id": "a"}, {"id": "b", "quantity": 2}]),
                 ('[{"id": "a"}]', 5, None, {}, {"id": "a"}, ["a"], [None],
                  [[]])),
    "content_type": (("product", "product_group"), NO_STRING),
    "content_name": ANY_TEXT,
    "content_category": ANY_TEXT,
    "order_id": (("17", "A-17/b"), NO_STRING),
    "num_items": ((0, 3), (*NO_INTEGER, -1)),
    "search_string": ANY_TEXT,
    "status": ANY_TEXT,
    "predicted_ltv": ((0, 10, 99.5, -1), NO_NUMBER),
    "net_revenue": ((0, 3.5, -2), NO_NUMBER),
    "delivery_category": DELIVERY,
    "item_number": ANY_TEXT,
    "store_data": (({"store_page_id": "1", "brand_page_id": "2",
                     "store_code": "x"}, {"store_code": 7}, {}),
                   (*NO_OBJECT, {"store_code": None}, {"surprise": 1})),
    "customer_segmentation": SEGMENTS,
}

CONTENTS_ITEM = {                     # 4.1
    "id": (("sku 7/ü",), NO_STRING),
    "quantity": ((0, 1, 500), (*NO_INTEGER, -1)),
    "item_price": ((0, 5, 3.75), NO_NUMBER),
    "delivery_category": DELIVERY,
    "title": ANY_TEXT,
    "description": ANY_TEXT,
    "brand": ANY_TEXT,
    "category": ANY_TEXT,
    "price": ((), (5, 3.75, *NO_NUMBER)),           # store items only
}

EITHER = (True, False, 0, 1)
APP_DATA = {                          # 5
    "advertiser_tracking_enabled": ((0, 1), NO_FLAG),
    "application_tracking_enabled": ((0, 1), NO_FLAG),
    "campaign_ids": (("1", ["1", "2"]), NO_STRINGS),
    "consider_views": (EITHER, ("true", 2, None, [])),
    "extinfo": ((["a2", "", "", "", "14"] + [""] * 11,),
                ("a2", 5, None, {}, ["a2", 5] + [""] * 14)),
    "include_dwell_data": (EITHER, ("true", 2, None, [])),
    "include_video_data": (EITHER, ("true", 2, None, [])),
    "install_referrer": ANY_TEXT,
    "installer_package": ANY_TEXT,
    "receipt_data": ANY_TEXT,
    "url_schemes": (("shop://", ["shop://"]), NO_STRINGS),
    "windows_attribution_id": ANY_TEXT,
}

ORIGINAL_EVENT_DATA = {               # 2
    "event_name": TEXT,
    "event_time": ((1, NOW, NOW - 10 ** 8),
                   (*NO_INTEGER, NOW * 1000)),
    "order_id": ANY_TEXT,
    "event_id": ANY_TEXT,
}

EITHER_KIND = (("x", 7, 0.5), (True, None, [], {}))
ATTRIBUTION_DATA = {                  # 5
    "scope": ANY_TEXT,
    "visit_time": ((NOW * 1000,), NO_INTEGER),
    "ad_id": (("12",), NO_STRING),
    "adset_id": (("12",), NO_STRING),
    "campaign_id": (("12",), NO_STRING),
    "attribution_share": ((0, 0.3, 1), (*NO_NUMBER, -0.1, 1.1)),
    "attribution_model": one_of(
        "first_touch", "last_touch", "last_click", "linear", "time_decay",
        "position_based", "customized_multi_touch", "unknown"),
    "attr_window": ((7,), (*NO_INTEGER, -1)),
    "attribution_value": ((3.45,), NO_NUMBER),
    "attribution_source": ANY_TEXT,
    "touchpoint_type": ANY_TEXT,
    "touchpoint_ts": ((NOW * 1000,), NO_INTEGER),
    "touchpoint_id": EITHER_KIND,
    "attribution_method": ANY_TEXT,
    "decline_reason": ANY_TEXT,
    "auditing_token": ANY_TEXT,
    "linkage_key": ANY_TEXT,
    "attribution_setting": (
        ({"inactivity_window_hours": 24, "reattribution_window_hours": 168},
         {}), (*NO_OBJECT, {"inactivity_window_hours": "24"},
               {"surprise": 1})),
    "total_credit": EITHER_KIND,
    "partner_client_id": EITHER_KIND,
}


def tearDownModule():
    remove_certificates()


def lead(**changes):
    """An event that needs nothing but customer data."""
    return event(**dict({"event_name": "Lead", "event_time": NOW,
                         "custom_data": None}, **changes))


class Fields(SandboxTest):
    def check_table(self, table, path, build):
        """build(member, value) makes an event with it at path."""
        for name, (good, bad) in table.items():
            step = "%s['%s']" % (path, name)
            for value in good:
                with self.subTest(name, good=value):
                    self.accepted(build(name, value))
            for value in bad:
                with self.subTest(name, bad=value):
                    self.refused(100, SCHEMA, [build(name, value)], step)
        with self.subTest("unknown"):
            self.refused(100, SCHEMA, [build("surprise", "x")],
                         path + "['surprise']: is not a known key")

    def test_request(self):
        for name, (good, bad) in REQUEST.items():
            for value in good:
                with self.subTest(name, good=value):
                    self.accepted(event(), **{name: value})
            for value in bad:
                with self.subTest(name, bad=value):
                    self.refused(100, SCHEMA, [event()], "$['%s']" % name,
                                 **{name: value})
        self.refused(100, SCHEMA, [event()],
                     "$['surprise']: is not a known key", surprise="x")

    def test_event(self):
        def build(name, value):
            sent = lead(custom_data={"value": 1, "currency": "EUR"})
            sent[name] = value        # None is sent as null here
            return sent
        self.check_table(EVENT, "$['data'][0]", build)

    def in_user_data(self, name, value):
        # two others, so that it is no matter that one is tried out
        return lead(user_data={"external_id": "7", "anon_id": "8",
                               name: value})

    def test_user_data(self):
        self.check_table(USER_DATA, "$['data'][0]['user_data']",
                         self.in_user_data)

    def test_hashed_user_data(self):
        for name in HASHED_LISTS:
            with self.subTest(name):
                for good in (EM, [EM], [EM, sha256("b")], [],
                             EM + ".AQQCAQMC", [EM, EM + ".AQ-_AQMC"]):
                    self.accepted(self.in_user_data(name, good))
                for bad in NO_STRINGS:
                    self.refused(100, SCHEMA, [self.in_user_data(name, bad)],
                                 "$['data'][0]['user_data']['%s']" % name)
                for bad in (*NO_HASHES, EM + ".AQQ", EM + ".AQQCAQM!"):
                    for value in (bad, [bad], [EM, bad]):
                        self.refused(
                            100, NOT_HASHED,
                            [self.in_user_data(name, value)],
                            "parameter %s must be" % name)

    def test_hashed_texts(self):
        for name in HASHED_STRINGS:
            with self.subTest(name):
                self.accepted(self.in_user_data(name, EM))
                for bad in (5, None, {}, [EM]):
                    self.refused(100, SCHEMA, [self.in_user_data(name, bad)],
                                 "$['data'][0]['user_data']['%s']" % name)
                for bad in (*NO_HASHES, EM + ".AQQCAQMC"):
                    self.refused(100, NOT_HASHED,
                                 [self.in_user_data(name, bad)],
                                 "parameter %s must be" % name)

    def test_custom_data(self):
        def build(name, value):
            custom = {"value": 1, "currency": "EUR"}
            custom[name] = value
            return lead(custom_data=custom)
        for name, (good, bad) in CUSTOM_DATA.items():
            for value in good:
                with self.subTest(name, good=value):
                    self.accepted(build(name, value))
            for value in bad:
                with self.subTest(name, bad=value):
                    self.refused(
                        100, SCHEMA, [build(name, value)],
                        "$['data'][0]['custom_data']['%s']" % name)
        # any other key is free, and may hold anything
        for value in ("x", 5, None, [1, None], {"deep": [{}]}):
            self.accepted(build("surprise", value))

    def test_contents_item(self):
        def build(name, value):
            item = {"id": "a"}
            item[name] = value
            return lead(custom_data={"contents": [{"id": "first"}, item]})
        self.check_table(CONTENTS_ITEM,
                         "$['data'][0]['custom_data']['contents'][1]", build)

    def test_store_item(self):
        def build(name, value):
            item = {"id": "a", "quantity": 1}
            item[name] = value
            return lead(action_source="physical_store",
                        custom_data={"contents": [item]})
        self.check_table(dict(CONTENTS_ITEM, price=((5, 3.75), NO_NUMBER)),
                         "$['data'][0]['custom_data']['contents'][0]", build)

    def test_app_data(self):
        self.check_table(APP_DATA, "$['data'][0]['app_data']",
                         lambda name, value: lead(app_data={name: value}))

    def test_original_event_data(self):
        self.check_table(
            ORIGINAL_EVENT_DATA, "$['data'][0]['original_event_data']",
            lambda name, value: lead(original_event_data={name: value}))

    def test_attribution_data(self):
        self.check_table(
            ATTRIBUTION_DATA, "$['data'][0]['attribution_data']",
            lambda name, value: lead(attribution_data={name: value}))

    def test_unknown_keys_deep_down(self):
        for members, path in (
                ({"custom_data": {"store_data": {"x": 1}}},
                 "['custom_data']['store_data']['x']"),
                ({"attribution_data": {"attribution_setting": {"x": 1}}},
                 "['attribution_data']['attribution_setting']['x']")):
            self.refused(100, SCHEMA, [event(event_id="first"),
                                       lead(**members)],
                         "$['data'][1]" + path)
        self.refused(100, SCHEMA, [event()], "$['platforms'][1]['x']",
                     platforms=[{}, {"x": 1}])

    def test_tables_are_complete(self):
        for examples, members in (
                (REQUEST, set(fields.REQUEST) - {
                    "data", "access_token", "appsecret_proof"}),
                (EVENT, fields.EVENT),
                ({**USER_DATA, **dict.fromkeys(HASHED_LISTS
                                               + HASHED_STRINGS)},
                 fields.USER_DATA),
                (CUSTOM_DATA, fields.CUSTOM_DATA),
                (CONTENTS_ITEM, fields.CONTENTS_ITEM),
                (APP_DATA, fields.APP_DATA),
                (ORIGINAL_EVENT_DATA, fields.ORIGINAL_EVENT_DATA),
                (ATTRIBUTION_DATA, fields.ATTRIBUTION_DATA)):
            self.assertEqual(set(examples), set(members))


class Currencies(unittest.TestCase):
    def test_looks_like_the_standard(self):
        self.assertGreater(len(kinds.CURRENCIES), 150)
        for code in kinds.CURRENCIES:
            self.assertRegex(code, r"\A[A-Z]{3}\Z")


if __name__ == "__main__":
    unittest.main()
