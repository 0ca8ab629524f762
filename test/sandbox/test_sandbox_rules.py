"""Every rule about what an event says, once kept and once broken.

The cases follow the fact sheet's sections, not what any sender happens to
send.  Which members there are, and of what kind, is in test_sandbox_fields.py.
"""

import time
import unittest

from sandbox_client import (EM, SandboxTest, event, remove_certificates,
                            sha256)

DAY = 86400
SCHEMA = 2804019
FBCLID = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"


def tearDownModule():
    remove_certificates()


def user(**members):
    return event(user_data=members)


def custom(event_name="AddToCart", **members):
    return event(event_name=event_name, custom_data=members)


class Batch(SandboxTest):
    def test_one_and_a_thousand_events(self):
        self.accepted(event())
        self.accepted(*[event(event_id=str(n)) for n in range(1000)])

    def test_more_than_a_thousand(self):
        self.refused(100, None, [event()] * 1001)

    def test_no_events(self):
        self.refused(100, None, [])

    def test_one_bad_event_sinks_all(self):
        self.refused(100, 2804003, [
            event(), event(event_time=1), event(event_id="3")])
        self.assertEqual(self.last_request()["error_event"], 1)
        self.assertEqual(self.control("GET", "events")["count"], 0)

    def test_schema_of_all_before_meaning_of_any(self):
        self.refused(100, SCHEMA, [event(event_time=1), event(nonsense=1)],
                     "$['data'][1]['nonsense']")

    def test_only_schema_errors_name_the_event(self):
        error = self.refused(100, 2804003, [event(), event(event_time=1)])
        self.assertNotIn("data", error["error_user_msg"])
        self.assertNotIn("1", error["error_user_msg"])

    def test_body_shape(self):
        error = self.refused(100, SCHEMA, [event(nonsense=1)])
        self.assertEqual(set(error), {
            "message", "type", "code", "error_subcode", "is_transient",
            "error_user_title", "error_user_msg", "fbtrace_id"})
        self.assertIs(error["is_transient"], False)
        self.assertEqual(error["type"], "OAuthException")
        answer = self.accepted(event())
        self.assertEqual(set(answer),
                         {"events_received", "messages", "fbtrace_id"})
        self.assertEqual(answer["messages"], [])


class EventSchema(SandboxTest):
    def test_required(self):
        for name in ("event_name", "event_time", "user_data",
                     "action_source"):
            self.refused(100, SCHEMA, [event(), event(**{name: None})],
                         "$['data'][1]['%s']" % name)

    def test_key_of_another_object(self):
        # known in app_data only
        self.refused(100, SCHEMA, [event(advertiser_tracking_enabled=True)],
                     "$['data'][0]['advertiser_tracking_enabled']")
        self.refused(100, SCHEMA, [event(extinfo=[])])
        for name in ("email", "phone", "gen", "zip", "EM", "em "):
            self.refused(100, SCHEMA, [user(em=EM, **{name: EM})],
                         "$['data'][0]['user_data']['%s']" % name)

    def test_hostile_key_in_the_path(self):
        self.refused(100, SCHEMA, [event(**{"a']['b": 1})],
                     r"$['data'][0]['a\'][\'b']")

    def test_event_is_an_object(self):
        for bad in ("text", 1, None, [], True):
            self.refused(100, SCHEMA, [bad], "$['data'][0]")

    def test_limited_data_use(self):
        def ldu(options, country=None, state=None):
            return event(data_processing_options=options,
                         data_processing_options_country=country,
                         data_processing_options_state=state)
        for good in (ldu([]), ldu(["LDU"], 0, 0), ldu(["LDU"], 1, 1000),
                     ldu(["LDU"], 1, 1013), ldu(["LDU"], 1, 0)):
            self.accepted(good)
        for bad, step in ((ldu(["XYZ"], 0, 0), ""),
                          (ldu(["LDU"]), "_country"),
                          (ldu(["LDU"], None, 1000), "_country"),
                          (ldu(["LDU"], 1), "_state"),
                          (ldu([], 1), "_state"),
                          (ldu(None, 1), "_state"),
                          (ldu(["LDU"], 0, 1000), "_country"),
                          (ldu(None, None, 1000), "_country")):
            self.refused(100, SCHEMA, [bad],
                         "$['data'][0]['data_processing_options%s']" % step)

    def test_place_without_limited_data_use_is_a_warning(self):
        self.accepted(event(data_processing_options_country=1,
                            data_processing_options_state=1000))
        self.assertIn("place_without_limited_data_use",
                      self.last_request()["warnings"])


class EventName(SandboxTest):
    def test_warnings(self):
        for name, warning in (("My own name", "custom_event_name"),
                              ("purchase", "event_name_in_another_case"),
                              ("PAGEVIEW", "event_name_in_another_case"),
                              ("LeadSubmitted", None), ("Lead", None)):
            self.accepted(event(event_name=name))
            self.assertEqual(set(self.last_request()["warnings"]),
                             {warning} if warning else set())


class EventTime(SandboxTest):
    def at(self, offset, **changes):
        return event(event_time=int(time.time()) + offset, **changes)

    def test_seven_days(self):
        self.accepted(self.at(-7 * DAY + 10))
        self.refused(100, 2804003, [self.at(-7 * DAY - 10)])
        self.refused(100, 2804003, [event(event_time=0)])
        self.refused(100, 2804003, [event(event_time=-5)])

    def test_physical_store_has_62_days(self):
        self.accepted(self.at(-62 * DAY + 10,
                              action_source="physical_store"))
        self.refused(100, 2804003, [
            self.at(-62 * DAY - 10, action_source="physical_store")])

    def test_future(self):
        self.accepted(self.at(50))
        self.refused(100, 2804004, [self.at(70)])

    def test_milliseconds(self):
        self.refused(100, 2804004,
                     [event(event_time=int(time.time() * 1000))],
                     "milliseconds")
        self.refused(100, 2804004, [event(event_time=10 ** 30)])

    def test_late_is_a_warning(self):
        for offset, warned in ((-7000, None),
                               (-7300, "more_than_2_hours_late"),
                               (-86300, "more_than_2_hours_late"),
                               (-86500, "more_than_24_hours_late")):
            self.accepted(self.at(offset))
            self.assertEqual(
                [name for name in self.last_request()["warnings"]
                 if name.endswith("late")], [warned] if warned else [])

    def test_planned_clock(self):
        self.control("POST", "clock", {"offset_s": -120})
        self.refused(100, 2804004, [event()])
        self.control("POST", "clock", {"offset_s": 8 * DAY})
        self.refused(100, 2804003, [event()])
        self.control("POST", "clock", {"offset_s": 0})
        self.accepted(event())


class UserData(SandboxTest):
    def warned(self, name, members):
        self.accepted(user(**members))
        self.assertEqual(self.last_request()["warnings"].get(name), 1,
                         members)

    def test_refusal_does_not_quote_the_value(self):
        error = self.refused(100, 2804016, [user(em="jane@example.com")])
        self.assertNotIn("jane", str(error))

    def test_fbc(self):
        for good in ("fb.1.1554763741205." + FBCLID,
                     "fb.0.1554763741205." + FBCLID + ".AQ",
                     "fb.2.1554763741205." + FBCLID + ".AQQCAQMC"):
            self.accepted(user(fbc=good))
        for bad in (FBCLID, "fb.1.1554763741." + FBCLID,
                    "fb.1.1554763741205.", "fb.1.1554763741205",
                    "FB.1.1554763741205." + FBCLID,
                    "fb.1.1554763741205.fb.1.1554763741205." + FBCLID,
                    "fb.1.1554763741205." + FBCLID + ".AQQ",
                    "fb.1.1554763741205." + FBCLID + ".AQ.AQ",
                    "fb.x.1554763741205." + FBCLID,
                    "fb.1.1554763741205.a b", "", " "):
            self.refused(100, 2804001, [user(em=EM, fbc=bad)], "fbc")

    def test_fbp(self):
        for good in ("fb.1.1558571054389.1098115397",
                     "fb.2.1558571054389.10981-_5397.AQ",
                     "fb.0.1558571054389.1098115397.AQQCAQMC"):
            self.accepted(user(fbp=good))
        for bad in ("1098115397", "fb.1.1558571054.1098115397", "",
                    "fb.1.1558571054389", "fb.1.1558571054389.10 98"):
            self.refused(100, 2804001, [user(em=EM, fbp=bad)], "fbp")

    def test_lead_id(self):
        self.accepted(user(lead_id=525645896321548))
        for bad in (0, -7):
            self.refused(100, 2804036, [user(em=EM, lead_id=bad)])

    def test_enough_customer_data(self):
        for good in ({"em": EM}, {"ph": [EM]}, {"external_id": "7"},
                     {"fn": EM, "ln": EM}, {"fn": EM, "zp": EM},
                     {"db": EM, "ln": EM}, {"db": EM, "ge": EM},
                     {"db": EM, "ct": EM}, {"fn": EM, "client_user_agent":
                                            "x"},
                     {"client_ip_address": "1.2.3.4"},
                     {"fbp": "fb.1.1558571054389.1098115397"},
                     {"ct": EM, "country": EM, "st": EM, "zp": EM, "ge": EM,
                      "client_user_agent": "x", "em": EM}):
            self.accepted(user(**good))

    def test_too_little_customer_data(self):
        agent = {"client_user_agent": "Mozilla"}
        for bad in ({}, agent, {"em": []}, {"ct": EM, "em": []},
                    {"ct": EM, "country": EM, "st": EM, "zp": EM, "ge": EM,
                     **agent},
                    {"db": EM, **agent}, {"fn": EM, "ge": EM},
                    {"ln": [EM], "ge": [EM]}, {"fn": EM}, {"country": EM}):
            self.refused(100, 2804050, [user(**bad)])

    def test_empty_text_is_no_customer_data(self):
        for bad in ({"external_id": ""}, {"external_id": ["", ""]},
                    {"madid": ""}, {"ct": EM, "subscription_id": ""}):
            self.refused(100, 2804050, [user(**bad)])
        self.warned("empty_user_data_text", {"em": EM, "madid": ""})

    def test_warnings(self):
        self.warned("external_id_not_hashed",
                    {"external_id": ["customer 7", EM]})
        self.warned("hash_of_empty_text", {"em": sha256("")})
        self.warned("hash_of_empty_text",
                    {"em": [sha256(""), sha256("")], "fn": sha256("")})
        self.warned("hash_with_appendix", {"em": EM + ".AQQCAQMC"})
        self.warned("undocumented_user_data_key",
                    {"em": EM, "f5first": EM, "fi": EM})
        self.warned("client_ip_address_not_public",
                    {"em": EM, "client_ip_address": "10.0.0.7"})
        self.warned("hashed_what_is_sent_plain", {"em": EM, "madid": EM})
        # what has no other reading than the right one
        for name, right, wrong in (
                ("ge", ("f", "m"), ("female", "F", "", "x")),
                ("db", ("19970216", "19000101", "20010931"),
                 ("1997-02-16", "18991231", "29970216", "19971301")),
                ("country", ("de", "us", "zw"),
                 ("DE", "deu", "uk", "germany"))):
            warning = {"ge": "hash_of_no_gender", "db": "hash_of_no_date",
                       "country": "hash_of_no_country"}[name]
            for text in wrong:
                self.warned(warning, {"em": EM, name: sha256(text)})
            for text in right:
                self.accepted(user(em=EM, client_user_agent="x",
                                   **{name: sha256(text)}))
                self.assertEqual(self.last_request()["warnings"], {}, text)
        self.warned("hash_of_no_gender",
                    {"em": EM, "ge": [sha256("f"), sha256("w")]})
        self.accepted(user(em=EM, external_id=EM, madid="x",
                           client_ip_address="8.8.8.8",
                           client_user_agent="x"))
        self.assertEqual(set(self.last_request()["warnings"]), set())


class CustomData(SandboxTest):
    def test_purchase_needs_value_and_currency(self):
        self.accepted(custom("Purchase", value=0, currency="eur"))
        self.refused(100, 2804009, [event(custom_data=None)])
        self.refused(100, 2804009, [custom("Purchase", currency="EUR")])
        self.refused(100, 2804010, [custom("Purchase", value=1)])

    def test_other_events_need_neither(self):
        self.accepted(event(event_name="Lead", custom_data=None))
        self.accepted(custom(currency="EUR"))
        self.refused(100, 2804023, [custom(value=1)])

    def test_warnings(self):
        for name, members in (
                ("personal_key_in_custom_data", {"email": "x"}),
                ("unusual_content_type", {"content_type": "clothing"}),
                ("contents_item_without_id", {"contents": [{"title": "x"}]}),
                ("negative_value", {"value": "-3", "currency": "EUR"}),
                ("offline_key_outside_a_store", {"item_number": "1"}),
                ("offline_key_outside_a_store", {"store_data": {}})):
            self.accepted(custom(**members))
            self.assertEqual(set(self.last_request()["warnings"]), {name})

    def test_offline_contents(self):
        def store(item):
            return event(action_source="physical_store", custom_data={
                "value": 1, "currency": "EUR", "contents": [item]})
        self.accepted(store({"id": "x", "quantity": 1, "price": 5,
                             "brand": "b"}))
        self.refused(100, SCHEMA, [store({"id": "x"})], "quantity")
        self.refused(100, SCHEMA, [store({"quantity": 1})], "id")


class ActionSources(SandboxTest):
    EXTINFO = ["i2", "com.shop", "1.0", "1.0", "17.1", "iPhone14,5", "en_US",
               "CET", "", "390", "844", "3", "6", "128", "60",
               "Europe/Berlin"]

    def app(self, **changes):
        data = {"advertiser_tracking_enabled": 1,
                "application_tracking_enabled": 0, "extinfo": self.EXTINFO}
        data.update(changes)
        return event(action_source="app", app_data={
            name: value for name, value in data.items() if value is not None})

    def test_website_is_not_enforced(self):
        self.accepted(event(event_source_url=None, user_data={"em": EM}))
        self.assertEqual(set(self.last_request()["warnings"]), {
            "website_without_client_user_agent",
            "website_without_event_source_url"})

    def test_app(self):
        self.accepted(self.app())
        for flag in ("advertiser_tracking_enabled",
                     "application_tracking_enabled"):
            self.refused(100, SCHEMA, [self.app(**{flag: None})],
                         "$['data'][0]['app_data']['%s']" % flag)
        self.refused(100, SCHEMA, [event(action_source="app")],
                     "$['data'][0]['app_data']")
        self.refused(100, 2804043, [self.app(extinfo=None)])

    def test_app_data_of_other_sources_needs_nothing(self):
        self.accepted(event(app_data={"installer_package": "x"}))

    def test_extinfo(self):
        def with_(place, text):
            return [(text if n == place else old)
                    for n, old in enumerate(self.EXTINFO)]
        for good in (with_(8, ""), with_(0, "a2"),
                     ["a2", "", "", "", "14"] + [""] * 11):
            self.accepted(self.app(extinfo=good))
        for bad in (with_(0, ""), with_(0, "x2"), with_(4, ""),
                    with_(4, " "), self.EXTINFO[:15], [],
                    self.EXTINFO + [""]):
            self.refused(100, 2804043, [self.app(extinfo=bad)])
            self.refused(100, 2804043, [event(app_data={"extinfo": bad})])


class Messaging(SandboxTest):
    GOOD = {"whatsapp": {"whatsapp_business_account_id": "1",
                         "ctwa_clid": "x"},
            "messenger": {"page_id": "12", "page_scoped_user_id": "3"},
            "instagram": {"ig_account_id": "4", "ig_sid": "5"}}

    @staticmethod
    def message(channel, event_name="Purchase", **members):
        return event(event_name=event_name,
                     action_source="business_messaging",
                     messaging_channel=channel,
                     user_data=dict({"em": EM}, **members))

    def changed(self, channel, **changes):
        members = dict(self.GOOD[channel], **changes)
        return self.message(channel, **{
            name: value for name, value in members.items()
            if value is not None})

    def test_good(self):
        for channel, members in self.GOOD.items():
            self.accepted(self.message(channel, **members))
        self.accepted(self.message("whatsapp", page_id="1", ctwa_clid="x"))

    def test_channel(self):
        self.refused(100, SCHEMA, [self.message(None, page_id="12")],
                     "$['data'][0]['messaging_channel']")

    def test_ids(self):
        for channel, changes, subcode in (
                ("messenger", {"page_id": None}, 2804069),
                ("messenger", {"page_id": "my page"}, 2804069),
                ("instagram", {"ig_account_id": None}, 2804079),
                ("instagram", {"ig_account_id": ""}, 2804079),
                ("whatsapp", {"ctwa_clid": None}, 2804087),
                ("whatsapp", {"ctwa_clid": ""}, 2804087),
                ("whatsapp", {"whatsapp_business_account_id": None},
                 2804116),
                ("whatsapp", {"whatsapp_business_account_id": "x"},
                 2804116)):
            self.refused(100, subcode, [self.changed(channel, **changes)])

    def test_event_name(self):
        self.accepted(self.message("messenger", "LeadSubmitted",
                                   **self.GOOD["messenger"]))
        self.refused(100, 2804066, [self.message(
            "messenger", "My own name", **self.GOOD["messenger"])])
        self.accepted(self.message("messenger", "QualifiedLead",
                                   **self.GOOD["messenger"]))
        self.assertIn("qualified_lead", self.last_request()["warnings"])


class StoreEvents(SandboxTest):
    arguments = ("--dataset", "42", "--web-only-dataset", "43")

    def test_dataset_must_be_consolidated(self):
        store = event(action_source="physical_store")
        self.accepted(store, path="/v25.0/42/events")
        self.refused(100, None, [event(), store], "physical_store",
                     path="/v25.0/43/events")
        self.accepted(event(), path="/v25.0/43/events")

    def test_purchase_needs_value_and_currency(self):
        path = "/v25.0/42/events"
        for members, subcode in (({"currency": "EUR"}, 2804009),
                                 ({"value": 1}, 2804010)):
            self.refused(100, subcode, [event(
                action_source="physical_store", custom_data=members)],
                path=path)


if __name__ == "__main__":
    unittest.main()
