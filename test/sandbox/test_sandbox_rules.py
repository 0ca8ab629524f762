"""Every rule about events, once kept and once broken, over TLS.

The cases follow the fact sheet's sections, not what any sender happens to
send.  The last class holds events as well-known senders build them.
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

    def test_top_level(self):
        self.accepted(event(), test_event_code="TEST1",
                      partner_agent="plshop-1.0", namespace_id="12",
                      upload_id="1", upload_tag="t", upload_source="s",
                      platforms=[], trace=1,
                      progress={"start_inclusive": 0, "end_exclusive": 1})
        self.refused(100, SCHEMA, [event()], "$['dataset']", dataset="1")
        self.refused(100, SCHEMA, [event()], test_event_code=5)
        self.refused(100, SCHEMA, [event()], trace=-1)

    def test_partner_agent(self):
        self.refused(100, SCHEMA, [event()], partner_agent="x" * 23)
        self.refused(100, SCHEMA, [event()], partner_agent="a-12")

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

    def test_unknown_key(self):
        # known in app_data only
        self.refused(100, SCHEMA, [event(advertiser_tracking_enabled=True)],
                     "$['data'][0]['advertiser_tracking_enabled']")
        self.refused(100, SCHEMA, [event(extinfo=[])])

    def test_hostile_key_in_the_path(self):
        self.refused(100, SCHEMA, [event(**{"a']['b": 1})],
                     r"$['data'][0]['a\'][\'b']")

    def test_event_is_an_object(self):
        for bad in ("text", 1, None, [], True):
            self.refused(100, SCHEMA, [bad], "$['data'][0]")

    def test_event_name(self):
        self.accepted(event(event_name="A custom name"))
        self.refused(100, SCHEMA, [event(event_name="")])
        self.refused(100, SCHEMA, [event(event_name=5)])

    def test_event_time_type(self):
        now = int(time.time())
        for bad in (str(now), now + 0.5, True, "today"):
            self.refused(100, SCHEMA, [event(event_time=bad)],
                         "$['data'][0]['event_time']")

    def test_action_source(self):
        for good in ("email", "website", "phone_call", "chat",
                     "physical_store", "system_generated", "other"):
            self.accepted(event(action_source=good))
        for bad in ("Website", "web", "", 1):
            self.refused(100, SCHEMA, [event(action_source=bad)],
                         "$['data'][0]['action_source']")

    def test_types(self):
        self.accepted(event(
            referrer_url="https://search.example/", opt_out=False,
            original_event_data={"event_name": "Purchase", "order_id": "1",
                                 "event_time": 1, "event_id": "x"},
            attribution_data={"scope": "click"},
            customer_segmentation="new_customer_to_business_line",
            advanced_measurement_table="t"))
        for name, bad in (("event_id", 17), ("event_source_url", []),
                          ("referrer_url", 1), ("opt_out", "false"),
                          ("user_data", []), ("custom_data", "{}"),
                          ("app_data", []), ("original_event_data", 1),
                          ("attribution_data", "x"),
                          ("customer_segmentation", "new"),
                          ("messaging_channel", "sms")):
            self.refused(100, SCHEMA, [event(**{name: bad})],
                         "$['data'][0]['%s']" % name)

    def test_null_is_no_value(self):
        sent = event()
        sent["event_id"] = None
        self.refused(100, SCHEMA, [sent])

    def test_data_processing(self):
        def ldu(options, country=None, state=None):
            return event(data_processing_options=options,
                         data_processing_options_country=country,
                         data_processing_options_state=state)
        self.accepted(ldu([]))
        self.accepted(ldu(["LDU"], 0, 0))
        self.accepted(ldu(["LDU"], 1, 1000))
        self.accepted(ldu(["LDU"], 1, 1013))
        for bad in (ldu("LDU", 0, 0), ldu(["XYZ"], 0, 0), ldu(["LDU"]),
                    ldu(["LDU"], 1), ldu(["LDU"], 2, 0),
                    ldu(["LDU"], 1, 1014), ldu(["LDU"], "1", 1000)):
            self.refused(100, SCHEMA, [bad])


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

    def test_planned_clock(self):
        self.control("POST", "clock", {"offset_s": -120})
        self.refused(100, 2804004, [event()])
        self.control("POST", "clock", {"offset_s": 8 * DAY})
        self.refused(100, 2804003, [event()])
        self.control("POST", "clock", {"offset_s": 0})
        self.accepted(event())


class UserData(SandboxTest):
    def test_lists_and_texts(self):
        for name in ("em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp",
                     "country"):
            self.accepted(user(external_id="1", **{name: EM}))
            self.accepted(user(external_id="1", **{name: [EM, EM]}))
            self.refused(100, SCHEMA, [user(external_id="1", **{name: 5})],
                         "$['data'][0]['user_data']['%s']" % name)
            self.refused(100, SCHEMA,
                         [user(external_id="1", **{name: [EM, None]})])

    def test_texts_only(self):
        for name in ("client_ip_address", "client_user_agent", "fbc", "fbp",
                     "subscription_id", "madid", "anon_id", "app_user_id",
                     "page_id", "ctwa_clid", "lead_id", "fb_login_id"):
            self.refused(100, SCHEMA, [user(em=EM, **{name: ["x"]})],
                         "$['data'][0]['user_data']['%s']" % name)

    def test_hash_form(self):
        self.accepted(user(em=EM + ".AQQCAQMC"))
        self.accepted(user(app_user_id=EM))
        for bad in ("jane@example.com", EM.upper(), EM[:-1], EM + "0", "",
                    " " + EM, EM + "\n", EM + ".AQQ", EM + ".AQQCAQM!",
                    "d41d8cd98f00b204e9800998ecf8427e"):
            self.refused(100, 2804016, [user(em=[EM, bad])], " em ")
        self.refused(100, 2804016, [user(em=EM, app_user_id="77")],
                     "app_user_id")
        self.refused(100, 2804016,
                     [user(em=EM, app_user_id=EM + ".AQQCAQMC")])

    def test_refusal_does_not_quote_the_value(self):
        error = self.refused(100, 2804016, [user(em="jane@example.com")])
        self.assertNotIn("jane", str(error))

    def test_external_id_may_be_raw(self):
        self.accepted(user(external_id=["customer 7", EM]))
        self.assertIn("external_id_not_hashed",
                      self.last_request()["warnings"])

    def test_unknown_key(self):
        for name in ("email", "phone", "gen", "zip", "EM"):
            self.refused(100, SCHEMA, [user(em=EM, **{name: EM})])

    def test_client_ip(self):
        for good in ("192.0.2.1", "2001:db8::1"):
            self.accepted(user(em=EM, client_ip_address=good))
        for bad in ("192.0.2.1 ", "192.0.2.256", "192.0.2.0/24", "fe80::1%1",
                    "unknown", ""):
            self.refused(100, SCHEMA, [user(em=EM, client_ip_address=bad)],
                         "client_ip_address")

    def test_fbc(self):
        for good in ("fb.1.1554763741205." + FBCLID,
                     "fb.0.1554763741205." + FBCLID + ".AQ",
                     "fb.2.1554763741205." + FBCLID + ".AQQCAQMC"):
            self.accepted(user(fbc=good))
        for bad in (FBCLID, "fb.1.1554763741." + FBCLID,
                    "fb.1.1554763741205.", "fb.1.1554763741205",
                    "FB.1.1554763741205." + FBCLID,
                    "fb.1.1554763741205.fb.1.1554763741205." + FBCLID,
                    "fb.1.1554763741205.a b", ""):
            self.refused(100, 2804001, [user(em=EM, fbc=bad)])

    def test_fbp(self):
        self.accepted(user(fbp="fb.1.1558571054389.1098115397"))
        self.refused(100, SCHEMA, [user(em=EM, fbp="1098115397")], "fbp")

    def test_lead_id(self):
        self.accepted(user(lead_id=525645896321548))
        self.accepted(user(lead_id="525645896321548"))
        self.refused(100, 2804036, [user(em=EM, lead_id="lead seven")])

    def test_enough_customer_data(self):
        for good in ({"em": EM}, {"ph": [EM]}, {"external_id": "7"},
                     {"fn": EM, "ln": EM}, {"fn": EM, "zp": EM},
                     {"db": EM, "ln": EM}, {"client_ip_address": "1.2.3.4"},
                     {"fbp": "fb.1.1558571054389.1098115397"}):
            self.accepted(user(**good))

    def test_too_little_customer_data(self):
        agent = {"client_user_agent": "Mozilla"}
        for bad in ({}, agent, {"em": []}, {"ct": EM, "em": []},
                    {"ct": EM, "country": EM, "st": EM, "zp": EM, "ge": EM,
                     **agent},
                    {"db": EM, **agent}, {"fn": EM, "ge": EM},
                    {"ln": [EM], "ge": [EM]}, {"fn": EM}, {"country": EM}):
            self.refused(100, 2804050, [user(**bad)])

    def test_hash_of_nothing_is_a_warning(self):
        self.accepted(user(em=sha256("")))
        self.assertEqual(
            self.last_request()["warnings"]["hash_of_empty_text"], 1)


class CustomData(SandboxTest):
    def test_purchase_needs_value_and_currency(self):
        self.accepted(custom("Purchase", value=0, currency="eur"))
        self.refused(100, 2804009, [event(custom_data=None)])
        self.refused(100, 2804009, [custom("Purchase", currency="EUR")])
        self.refused(100, 2804023, [custom("Purchase", value=1)])

    def test_other_events_need_neither(self):
        self.accepted(event(event_name="Lead", custom_data=None))
        self.accepted(custom(currency="EUR"))
        self.refused(100, 2804023, [custom(value=1)])

    def test_value(self):
        for good in (1, 1.25, 0, "12.50", "-3"):
            self.accepted(custom(value=good, currency="EUR"))
        for bad in ("12,50", "", "1e3", True, None, [1], "12.50 EUR"):
            self.refused(100, SCHEMA, [custom(value=bad, currency="EUR")],
                         "$['data'][0]['custom_data']['value']")

    def test_currency(self):
        for good in ("EUR", "usd", "Jpy"):
            self.accepted(custom(value=1, currency=good))
        for bad in ("EURO", "€", "XYZ", "", 978, "E R"):
            self.refused(100, SCHEMA, [custom(value=1, currency=bad)])

    def test_types(self):
        self.accepted(custom(
            content_ids=["a"], content_type="product", content_name="n",
            content_category="c", order_id="17", num_items=2,
            search_string="s", status="done", predicted_ltv=10,
            net_revenue="3.5", delivery_category="in_store",
            item_number="1", store_data={"store_code": "x"},
            customer_segmentation="customer_in_loyalty_program"))
        for name, bad in (("content_ids", "a"), ("content_ids", [17]),
                          ("content_type", 1), ("order_id", 17),
                          ("num_items", "2"), ("num_items", -1),
                          ("num_items", 1.5), ("predicted_ltv", "much"),
                          ("delivery_category", "drone"),
                          ("store_data", []), ("search_string", None)):
            self.refused(100, SCHEMA, [custom(**{name: bad})],
                         "$['data'][0]['custom_data']['%s']" % name)

    def test_free_properties(self):
        self.accepted(custom(colour="red", nested={"deep": [1, None]}))

    def test_personal_keys_are_a_warning(self):
        self.accepted(custom(email="x"))
        self.assertIn("personal_key_in_custom_data",
                      self.last_request()["warnings"])

    def test_contents(self):
        item = {"id": "sku", "quantity": 0, "item_price": 0,
                "delivery_category": "curbside", "title": "t",
                "description": "d", "brand": "b", "category": "c"}
        self.accepted(custom(contents=[item, {"id": "x"}]))
        self.accepted(custom(contents=[]))

    def test_contents_is_not_text(self):
        self.refused(100, SCHEMA, [custom(contents='[{"id": "x"}]')],
                     "$['data'][0]['custom_data']['contents']")

    def test_contents_item(self):
        for bad, step in (({"id": "x", "name": "n"}, "name"),
                          ({"id": 5}, "id"), ({"quantity": "1"}, "quantity"),
                          ({"quantity": 1.5}, "quantity"),
                          ({"item_price": "3"}, "item_price"),
                          ({"item_price": True}, "item_price"),
                          ({"id": "x", "price": 5}, "price"),
                          ({"delivery_category": ""}, "delivery_category")):
            self.refused(
                100, SCHEMA, [event(), custom(contents=[{"id": "a"}, bad])],
                "$['data'][1]['custom_data']['contents'][1]['%s']" % step)
        self.refused(100, SCHEMA, [custom(contents=["x"])], "[0]")

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
        self.refused(100, SCHEMA, [event(action_source="app")], "app_data")
        self.refused(100, SCHEMA,
                     [self.app(application_tracking_enabled=None)])
        self.refused(100, SCHEMA, [self.app(advertiser_tracking_enabled=2)])
        self.refused(100, 2804043, [self.app(extinfo=None)])

    def test_extinfo(self):
        def without(place):
            return [("" if n == place else text)
                    for n, text in enumerate(self.EXTINFO)]
        self.accepted(self.app(extinfo=without(8)))
        for bad in (without(0), without(4), self.EXTINFO[:15], []):
            self.refused(100, 2804043, [self.app(extinfo=bad)])
        self.refused(100, SCHEMA, [self.app(extinfo="i2")])

    def test_unknown_app_data_is_a_warning(self):
        self.accepted(self.app(surprise=1))
        self.assertIn("unknown_key_in_app_data",
                      self.last_request()["warnings"])

    def test_business_messaging(self):
        def message(channel="whatsapp", **members):
            return event(action_source="business_messaging",
                         messaging_channel=channel,
                         user_data=dict({"ctwa_clid": "x"}, **members))
        self.accepted(message(whatsapp_business_account_id="1"))
        self.accepted(message("messenger", page_id="12"))
        self.refused(100, SCHEMA, [message(None, page_id="12")])
        self.refused(100, 2804116, [message()])


class OtherSenders(SandboxTest):
    """Events as other senders build them; where they stray from the
    documentation the sandbox refuses or warns."""

    def test_scalar_customer_fields(self):
        self.accepted(event(
            event_id=None, event_name="AddToCart", event_source_url=None,
            user_data={"em": EM, "zp": EM},
            custom_data={"revenue": 400, "additional_bet_index": 0,
                         "content_ids": [], "contents": [],
                         "content_type": "product", "currency": "USD",
                         "value": 400}))
        self.assertIn("no_event_id", self.last_request()["warnings"])

    def test_numeric_product_ids(self):
        self.refused(100, SCHEMA, [custom(content_ids=[1234])])
        self.refused(100, SCHEMA, [custom(contents=[{"id": 1234}])])

    def test_flattened_products_are_free_properties(self):
        self.accepted(custom(**{"products[0].sku": "8732", "value": 0,
                                "currency": "USD"}))

    def test_placeholder_data_processing(self):
        self.refused(100, SCHEMA, [event(
            data_processing_options="val1",
            data_processing_options_country="val2",
            data_processing_options_state="val3")])

    def test_value_without_currency_in_a_shop(self):
        self.refused(100, 2804023, [event(
            event_name="TestEvent", action_source="physical_store",
            user_data={"em": EM, "ph": EM}, custom_data={"value": 400})])

    def test_numeric_text_as_time(self):
        self.refused(100, SCHEMA, [event(event_time=str(int(time.time())))])

    def test_partner_ids(self):
        self.accepted(event(action_source="email", user_data={
            "em": EM, "external_id": [EM, sha256("2")],
            "partner_id": "faf12ef=", "partner_name": "someone"}))

    def test_relative_page_address_is_a_warning(self):
        self.accepted(event(event_source_url="jkl", event_name="PageView"))
        self.assertIn("event_source_url_without_http",
                      self.last_request()["warnings"])

    def test_blank_platform_in_extinfo(self):
        self.refused(100, 2804043, [event(
            action_source="email", app_data={
                "advertiser_tracking_enabled": 0,
                "application_tracking_enabled": 0,
                "extinfo": ["", "com.shop", "", "2.0.1", "16.3.1"]
                + [""] * 11})])


if __name__ == "__main__":
    unittest.main()
