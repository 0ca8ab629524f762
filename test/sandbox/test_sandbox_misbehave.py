"""Planned failures: each does to the client what it says, and the records
say what really became of the events."""

import http.client
import json
import ssl
import threading
import time
import unittest

from sandbox_client import (DATASET, TOKEN, SandboxTest, event,
                            remove_certificates)


def tearDownModule():
    remove_certificates()


class Misbehave(SandboxTest):
    def kept(self):
        return self.control("GET", "stats")["events"]

    def send(self, *events):
        """(status, headers, bytes) of one request, without judging it."""
        return self.raw(
            json.dumps({"data": list(events) or [event()]}).encode(),
            {"Content-Type": "application/json",
             "Authorization": "Bearer " + TOKEN})

    def broken(self, *events):
        """The connection breaks instead of an answer."""
        with self.assertRaises((http.client.HTTPException, ConnectionError,
                                ssl.SSLEOFError)):
            self.send(*events)
        self.connection.close()

    def in_background(self, *events):
        """A request of its own connection; the list gets the answer."""
        answers = []

        def run():
            connection = self.sandbox.connect()
            answers.append(self.post(list(events) or [event()],
                                     connection=connection))
            connection.close()
        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        return thread, answers

    # --- how often, and for whom ------------------------------------------

    def test_once_by_default(self):
        self.misbehave(status=500)
        self.assertEqual(self.send()[0], 500)
        self.assertEqual(self.kept(), 0)
        self.accepted(event())

    def test_times(self):
        self.misbehave(status=503, times=2)
        self.assertEqual([self.send()[0] for _ in range(3)],
                         [503, 503, 200])

    def test_until_deleted(self):
        self.misbehave(status=503, times=None)
        self.assertEqual([self.send()[0] for _ in range(3)], [503] * 3)
        plan = self.control("GET", "misbehave")["plans"][0]
        self.assertEqual((plan["used"], plan["left"]), (3, None))
        self.control("DELETE", "misbehave")
        self.accepted(event())

    def test_skip(self):
        self.misbehave(skip=2, status=503)
        self.assertEqual([self.send()[0] for _ in range(4)],
                         [200, 200, 503, 200])
        self.misbehave(skip=1, status=503, match={"event_id": "x"})
        self.assertEqual([self.send(event(event_id=name))[0]
                          for name in "axbxx"],
                         [200, 200, 200, 503, 200])

    def test_plans_in_order(self):
        self.control("POST", "misbehave", [{"status": 500}, {"status": 429}])
        self.assertEqual([self.send()[0] for _ in range(3)],
                         [500, 429, 200])

    def test_match(self):
        poison = event(event_id="poison", event_name="Lead")
        for match in ({"event_id": "poison"}, {"event_id": ["x", "poison"]},
                      {"event_name": "Lead"}, {"field": "opt_out"},
                      {"field": "ph"}, {"field": "num_items"},
                      {"event_id": "poison", "event_name": "Lead"},
                      {"dataset": DATASET, "event_id": "poison"}):
            self.control("DELETE", "misbehave")
            self.misbehave(match=match, code=100, subcode=2804008,
                           times=None)
            hit = dict(poison, opt_out=True,
                       user_data=dict(poison["user_data"], ph=[]),
                       custom_data=dict(poison["custom_data"], num_items=1))
            self.refused(100, 2804008, [event(), hit])
            self.accepted(event(), event(event_id="2"))

    def test_match_of_two_members_needs_one_event(self):
        self.misbehave(match={"event_id": "a", "event_name": "Lead"},
                       status=500)
        self.accepted(event(event_id="a"),
                      event(event_id="b", event_name="Lead"))

    def test_other_dataset(self):
        self.misbehave(match={"dataset": "99"}, status=500)
        self.accepted(event())

    def test_mistakes_in_plans(self):
        for bad in ({"statsu": 500}, {"times": 0}, {"match": {"id": 1}},
                    {"status": 99}, {"cut": "off"}, {"cut": 1},
                    {"subcode": 5}, {"delay_ms": -1}, {"headers": []},
                    {"headers": {"a\r\nb": "c"}}, 5, {"skip": -1},
                    {"close": "loudly"}, {"framing": "none"},
                    {"drip": {"bytes": 1}}, {"drip": 5},
                    {"drip": {"bytes": 0, "every_ms": 1}},
                    {"throttle": {"page": {}}}, {"throttle": {}},
                    {"throttle": {"app": 5}}, {"redirect": "a\r\nb"},
                    {"content_type": ""}, {"http10": 1}, {"html": "yes"},
                    {"match": {"calls": "events"}},
                    [{"status": 500}, {"x": 1}]):
            status, answer = self.sandbox.control("POST", "misbehave", bad)
            self.assertEqual(status, 400, bad)
            self.assertTrue(answer["error"])
        self.assertEqual(self.control("GET", "misbehave")["plans"], [])

    # --- wrong answers ----------------------------------------------------

    def test_error_body(self):
        self.misbehave(status=400, code=80004, subcode=2446079,
                       is_transient=True, message="Zu viele Aufrufe",
                       type="OAuthException", user_msg="Bitte warten",
                       error_data={"blame_field_specs": [["x"]]})
        status, answer = self.post([event()])
        error = answer["error"]
        self.assertEqual(
            (status, error["code"], error["error_subcode"],
             error["is_transient"], error["message"],
             error["error_user_msg"]),
            (400, 80004, 2446079, True, "Zu viele Aufrufe", "Bitte warten"))
        self.assertEqual(error["error_data"], {"blame_field_specs": [["x"]]})
        record = self.last_request()
        self.assertEqual((record["outcome"], record["code"],
                          record["accepted"]), ("misbehaved", 80004, 0))

    def test_statuses_that_go_with_codes(self):
        for plan, status, code in (({"code": 2}, 500, 2),
                                   ({"code": 190}, 401, 190),
                                   ({"code": 4}, 400, 4),
                                   ({"code": -3}, 500, -3),
                                   ({"status": 429}, 429, 4),
                                   ({"status": 404}, 404, 100),
                                   ({"status": 502}, 502, 1)):
            self.misbehave(**plan)
            got, answer = self.post([event()])
            self.assertEqual((got, answer["error"]["code"]), (status, code))
            self.assertNotIn("is_transient", answer["error"])

    def test_headers_with_an_honest_answer(self):
        usage = {"123": [{"type": "ads_management", "call_count": 95,
                          "estimated_time_to_regain_access": 19}]}
        self.misbehave(headers={"X-Business-Use-Case-Usage": usage,
                                "X-Note": "a\r\nSet-Cookie: b"})
        status, headers, _ = self.send()
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(headers["x-business-use-case-usage"]),
                         usage)
        self.assertIsNone(headers["Set-Cookie"])
        self.assertEqual(self.kept(), 1)

    def test_throttles_of_all_kinds(self):
        self.misbehave(throttle={"app": {"call_count": 28}})
        status, headers, _ = self.send()
        self.assertEqual(
            (status, json.loads(headers["X-App-Usage"])),
            (200, {"call_count": 28, "total_time": 25, "total_cputime": 25}))
        self.assertIsNone(headers["X-Ad-Account-Usage"])
        self.misbehave(throttle={
            "ad_account": {"acc_id_util_pct": 9.67},
            "business": {"estimated_time_to_regain_access": 19}})
        status, headers, _ = self.send()
        self.assertEqual(
            (status, json.loads(headers["X-Ad-Account-Usage"]),
             json.loads(headers["X-Business-Use-Case-Usage"])),
            (200, {"acc_id_util_pct": 9.67, "reset_time_duration": 60,
                   "ads_api_access_tier": "standard_access"},
             {DATASET: [{"type": "ads_management", "call_count": 100,
                         "total_cputime": 20, "total_time": 20,
                         "estimated_time_to_regain_access": 19,
                         "ads_api_access_tier": "standard_access"}]}))
        self.assertEqual(self.kept(), 2)

    def test_throttled(self):
        self.misbehave(code=80004, throttle={"app": {}})
        status, headers, answer = self.send()
        self.assertEqual(
            (status, json.loads(headers["X-App-Usage"])["call_count"],
             json.loads(answer)["error"]["code"]), (400, 100, 80004))
        self.assertEqual(self.kept(), 0)

    def test_html(self):
        self.misbehave(html=True)
        status, headers, answer = self.send()
        self.assertEqual((status, headers["Content-Type"]),
                         (502, "text/html"))
        self.assertIn(b"<html>", answer)
        self.misbehave(html=True, status=200)
        self.assertEqual(self.send()[0], 200)
        self.assertEqual(self.kept(), 0)

    def test_garbage(self):
        self.misbehave(garbage=True)
        status, headers, answer = self.send()
        self.assertEqual(status, 502)
        self.assertTrue(headers["Content-Type"].startswith(
            "application/json"))
        with self.assertRaises(ValueError):
            json.loads(answer)
        self.misbehave(garbage=True, status=200)
        self.assertEqual(self.send()[0], 200)
        self.assertEqual(self.kept(), 0)

    def test_body(self):
        self.misbehave(body='{"events_received": ')
        self.assertEqual(self.send()[2], b'{"events_received": ')
        self.assertEqual(self.kept(), 0)

    def test_content_type(self):
        self.misbehave(content_type="text/html")
        status, headers, answer = self.send()
        self.assertEqual((status, headers["Content-Type"]),
                         (200, "text/html"))
        self.assertEqual(json.loads(answer)["events_received"], 1)
        self.assertEqual(self.kept(), 1)
        self.misbehave(content_type="image/gif", code=2)
        self.assertEqual(self.send()[1]["Content-Type"], "image/gif")

    def test_redirect(self):
        self.misbehave(redirect="https://elsewhere.example/x")
        status, headers, answer = self.send()
        self.assertEqual((status, headers["Location"], answer),
                         (302, "https://elsewhere.example/x", b""))
        self.misbehave(redirect="/x", status=308)
        self.assertEqual(self.send()[0], 308)
        self.assertEqual(self.kept(), 0)

    def test_framing(self):
        self.misbehave(framing="chunked")
        status, headers, answer = self.send()
        self.assertEqual((status, headers["Transfer-Encoding"],
                          headers["Content-Length"]), (200, "chunked", None))
        self.assertEqual(json.loads(answer)["events_received"], 1)
        self.misbehave(framing="close")
        status, headers, answer = self.send()
        self.assertEqual((status, headers["Transfer-Encoding"],
                          headers["Content-Length"], headers["Connection"]),
                         (200, None, None, "close"))
        self.assertEqual(json.loads(answer)["events_received"], 1)
        self.misbehave(framing="broken")
        self.broken()
        self.assertEqual(self.kept(), 3)

    def test_http10(self):
        self.misbehave(http10=True)
        self.connection.request(
            "POST", "/v25.0/1/events", json.dumps({"data": [event()]}),
            {"Content-Type": "application/json",
             "Authorization": "Bearer " + TOKEN})
        answer = self.connection.getresponse()
        self.assertEqual((answer.version, answer.status), (10, 200))
        self.assertTrue(answer.will_close)
        self.assertEqual(json.loads(answer.read())["events_received"], 1)

    def test_drip(self):
        self.misbehave(drip={"bytes": 20, "every_ms": 10})
        start = time.monotonic()
        self.accepted(event())
        # the answer has 200 bytes and more
        self.assertGreaterEqual(time.monotonic() - start, 0.1)

    def test_dripping_on_a_client_that_left(self):
        self.misbehave(drip={"bytes": 1, "every_ms": 1})
        connection = self.sandbox.connect()
        connection.request("POST", "/v25.0/1/events", b"{}")
        connection.close()
        self.assertTrue(self.control("GET", "wait?answered=1")["reached"])

    def test_huge(self):
        self.misbehave(huge=3000000)
        status, _, answer = self.send()
        self.assertEqual((status, len(answer)), (200, 3000000))
        self.misbehave(huge=300000, framing="chunked", status=500)
        status, _, answer = self.send()
        self.assertEqual((status, len(answer)), (500, 300000))
        # a client that stops reading costs nothing
        for framing in ("length", "chunked", "close"):
            self.misbehave(huge=2 ** 40, framing=framing)
            connection = self.sandbox.connect()
            connection.request("POST", "/v25.0/1/events", b"{}")
            connection.getresponse().read(10)
            connection.close()
        self.accepted(event())

    def test_yes_without_keeping(self):
        for plan in ({"status": 200}, {"accept": False}):
            self.misbehave(**plan)
            self.accepted(event())
            self.assertEqual(self.kept(), 0)

    def test_fewer_received_than_sent(self):
        self.misbehave(events_received=1, messages=["one was lost"])
        status, answer = self.post([event(), event(event_id="2")])
        self.assertEqual((status, answer["events_received"],
                          answer["messages"]), (200, 1, ["one was lost"]))
        self.assertEqual(self.kept(), 2)

    def test_error_although_accepted(self):
        self.misbehave(status=500, code=1, accept=True)
        self.assertEqual(self.post([event()])[0], 500)
        self.assertEqual(self.kept(), 1)
        self.accepted(event())
        self.assertEqual(self.control("GET", "stats")["duplicates"], 1)

    def test_accept_is_still_strict(self):
        self.misbehave(status=500, accept=True)
        self.assertEqual(self.post([event(event_time=1)])[0], 500)
        self.assertEqual(self.kept(), 0)

    def test_close(self):
        self.misbehave(close=True)
        _, headers, _ = self.send()
        self.assertEqual(headers["Connection"], "close")
        self.assertEqual(self.kept(), 1)

    def test_close_without_a_word(self):
        self.misbehave(close="silent")
        _, headers, _ = self.send()
        self.assertIsNone(headers["Connection"])
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.send()
        self.assertEqual(self.kept(), 1)

    # --- no answer --------------------------------------------------------

    def test_cut(self):
        for cut, kept in ((True, 0), ("before", 0), ("after", 1),
                          ("middle", 1)):
            self.control("POST", "reset")
            self.misbehave(cut=cut)
            self.broken()
            self.assertEqual(self.kept(), kept, cut)
            record = self.last_request()
            self.assertEqual((record["outcome"], record["accepted"]),
                             ("misbehaved", kept))

    def test_cut_in_a_planned_answer(self):
        for plan in ({"status": 500}, {"body": "x" * 100}, {"html": True}):
            self.misbehave(cut="middle", **plan)
            self.broken()

    def test_disconnect(self):
        self.accepted(event())
        self.misbehave(hang=True)
        hanging = self.sandbox.connect()
        hanging.request("POST", "/v25.0/1/events", b"{}")
        self.control("GET", "wait?hanging=1")
        self.assertEqual(
            self.control("POST", "disconnect")["connections"], 2)
        with self.assertRaises((http.client.HTTPException, OSError)):
            hanging.getresponse()
        self.broken()
        hanging.close()
        self.accepted(event())

    def test_delay(self):
        self.misbehave(delay_ms=300)
        start = time.monotonic()
        self.accepted(event())
        self.assertGreaterEqual(time.monotonic() - start, 0.3)

    def test_delay_then_error(self):
        self.misbehave(delay_ms=50, status=503)
        self.assertEqual(self.send()[0], 503)

    def test_hang_and_release(self):
        self.misbehave(hang=True)
        thread, answers = self.in_background()
        self.assertTrue(self.control("GET", "wait?hanging=1")["reached"])
        self.assertEqual(self.last_request()["outcome"], "hanging")
        self.assertEqual(self.kept(), 0)
        self.accepted(event(event_id="not held up by the other"))
        self.control("POST", "release")
        thread.join()
        self.assertEqual(answers[0][0], 200)
        self.assertEqual(self.kept(), 2)

    def test_hang_after_accepting(self):
        self.misbehave(hang=True, accept=True)
        thread, answers = self.in_background()
        self.control("GET", "wait?hanging=1")
        self.assertEqual(self.kept(), 1)
        self.control("POST", "release")
        thread.join()
        self.assertEqual(answers[0][0], 200)
        self.assertEqual(self.kept(), 1)

    def test_hang_then_error(self):
        self.misbehave(hang=True, code=2)
        thread, answers = self.in_background()
        self.control("GET", "wait?hanging=1")
        self.control("POST", "release")
        thread.join()
        self.assertEqual(answers[0][0], 500)
        self.assertEqual(self.kept(), 0)

    def test_client_gives_up(self):
        for accept, kept in ((False, 0), (True, 1)):
            self.control("POST", "reset")
            self.misbehave(hang=True, **({"accept": True} if accept else {}))
            connection = self.sandbox.connect(timeout=0.3)
            with self.assertRaises(OSError):
                self.post([event()], connection=connection)
            connection.close()
            answer = self.control("GET", "wait?answered=1&timeout_s=10")
            self.assertTrue(answer["reached"])
            self.assertEqual(self.last_request()["outcome"], "gone")
            self.assertEqual(self.kept(), kept)

    def test_reset_lets_go(self):
        self.misbehave(hang=True, times=None)
        thread, answers = self.in_background()
        self.control("GET", "wait?hanging=1")
        self.control("POST", "reset")
        thread.join()
        self.assertEqual(answers[0][0], 200)

    def test_before_token_and_rules(self):
        self.misbehave(status=503)
        self.assertEqual(self.post([], token="wrong")[0], 503)


if __name__ == "__main__":
    unittest.main()
