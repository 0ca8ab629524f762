"""What a sender may read: its own token, its dataset; and what it may not."""

import hashlib
import hmac
import json
import time
import unittest
import urllib.parse

from sandbox_client import TOKEN, SandboxTest, event, remove_certificates


def tearDownModule():
    remove_certificates()


class Reads(SandboxTest):
    arguments = ("--dataset", "42", "--web-only-dataset", "43")

    def get(self, path, token=TOKEN, method="GET", **parameters):
        headers = {"Authorization": "Bearer " + token} if token else {}
        status, _, body = self.raw(
            None, headers, "/v25.0/%s?%s"
            % (path, urllib.parse.urlencode(parameters)), method)
        return status, json.loads(body)

    def answers(self, expected, path, **parameters):
        status, answer = self.get(path, **parameters)
        self.assertEqual((status, answer), (200, expected))

    def fails(self, code, subcode, path, status=400, **parameters):
        got, answer = self.get(path, **parameters)
        error = answer["error"]
        self.assertEqual((got, error["code"], error.get("error_subcode")),
                         (status, code, subcode), answer)
        return error["message"]


class Dataset(Reads):
    def test_accepts_store_events(self):
        for dataset, answer in (("42", True), ("43", False)):
            self.answers({"id": dataset, "is_consolidated_container": answer},
                         dataset, fields="is_consolidated_container")

    def test_fields(self):
        self.answers({"name": "Sandbox dataset", "id": "42"}, "42")
        self.answers({"name": "Sandbox dataset", "id": "42"}, "42",
                     fields="name")
        self.answers({"id": "42"}, "42", fields="id")
        self.fails(100, None, "42", fields="surprise")
        self.fails(100, None, "42", fields="id,")
        self.fails(100, None, "42", field="id")

    def test_unknown_dataset(self):
        self.fails(100, 33, "44", fields="id")
        self.fails(803, None, "shop", fields="id")

    def test_token(self):
        self.fails(104, None, "42", token=None)
        self.fails(190, None, "42", token="wrong", status=401)
        self.control("POST", "tokens", {"add": [
            {"token": "limited", "datasets": ["43"]}]})
        self.fails(100, 33, "42", token="limited")
        self.assertEqual(self.get("43", token="limited")[0], 200)
        self.fails(190, None, "42", token=None, access_token=TOKEN)
        self.assertEqual(self.control("GET", "stats")["tokens_in_url"], 1)

    def test_methods(self):
        self.fails(100, 33, "42", method="DELETE")
        self.fails(100, 33, "42", method="POST")

    def test_records(self):
        self.get("42", fields="id")
        record = self.last_request()
        self.assertEqual(
            (record["call"], record["dataset"], record["method"],
             record["status"], record["accepted"], record["outcome"]),
            ("dataset", "42", "GET", 200, 0, "accepted"))


class Stats(Reads):
    def setUp(self):
        super().setUp()
        self.control("POST", "tokens", {"add": [
            {"token": "reader", "scopes": ["ads_read"]}]})
        self.hour = int(time.time()) // 3600 * 3600
        self.until = int(time.time())

    def read(self, expected=None, **parameters):
        status, answer = self.get(
            "42/stats", "reader", **dict({
                "start_time": self.hour - 86400, "end_time": self.until},
                **parameters))
        if expected is not None:
            self.assertEqual((status, answer), (200, expected))
        return answer

    def iso(self, hour):
        return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(hour))

    def test_need_another_token(self):
        self.assertIn("Missing Permission", self.fails(100, None, "42/stats"))

    def test_counts(self):
        self.read({"data": []})
        self.accepted(event(), path="/v25.0/42/events")
        self.accepted(event(event_id="x"), path="/v25.0/42/events")
        for hour, count in ((self.hour - 3600, 5), (self.hour - 7200, 0),
                            (self.hour - 90000, 7)):
            self.control("POST", "count", {
                "dataset": "42", "hour": hour, "event_name": "Lead",
                "count": count})
        told = [{"start_time": self.iso(self.hour - 3600),
                 "aggregation": "event",
                 "data": [{"value": "Lead", "count": 5}]},
                {"start_time": self.iso(self.hour), "aggregation": "event",
                 "data": [{"value": "Purchase", "count": 2}]}]
        self.read({"data": told}, event_source="SERVER_ONLY",
                  aggregation="event")
        self.read({"data": told[:1]}, end_time=self.hour)
        self.read({"data": told[1:]}, start_time=self.iso(self.hour))
        self.read({"data": []}, event_source="WEB_ONLY")
        self.control("POST", "paging", {"hours": 1})
        answer = self.read()
        self.assertEqual(answer["data"], told[:1])
        self.assertIn("access_token=reader", answer["paging"]["next"])

    def test_parameters(self):
        for wrong in ({"start_time": self.hour - 8 * 86400},
                      {"start_time": "yesterday"},
                      {"end_time": self.hour - 100000},
                      {"end_time": self.hour + 90000},
                      {"aggregation": "surprise"}, {"event_source": "ALL"},
                      {"x": "1"}):
            self.assertEqual(self.read(**wrong)["error"]["code"], 100, wrong)


class Quality(Reads):
    WEB = [{"event_name": "Purchase",
            "event_match_quality": {
                "composite_score": 6.2, "match_key_feedback": [
                    {"identifier": "email", "coverage": {"percentage": 90}},
                    {"identifier": "phone", "coverage": {"percentage": 7}}]},
            "acr": {"percentage": 3, "description": "text"}}]

    def test_no_data(self):
        self.answers({}, "dataset_quality", dataset_id="42",
                     fields="web{event_name}")
        self.fails(100, None, "dataset_quality")
        self.fails(100, None, "dataset_quality", dataset_id="44")
        self.fails(2500, None, "42/dataset_quality")

    def test_fields(self):
        self.control("POST", "quality", {"dataset": "42", "web": self.WEB})
        self.answers({"web": [{"event_name": "Purchase"}]}, "dataset_quality",
                     dataset_id="42")
        self.answers({"web": self.WEB}, "dataset_quality", dataset_id="42",
                     fields="web{event_name,event_match_quality{"
                     "composite_score,match_key_feedback},acr}")
        self.answers({"web": [{
            "event_match_quality": {"match_key_feedback": [
                {"identifier": "email"}, {"identifier": "phone"}]},
            "acr": {"percentage": 3}}]}, "dataset_quality", dataset_id="42",
            fields="web{event_match_quality{match_key_feedback{identifier}},"
            "acr{percentage}}")
        for wrong in ("web{surprise}", "web{", "web{acr{percentage{x}}}",
                      "web}", "{", "web{event_name event_name}"):
            self.fails(100, None, "dataset_quality", dataset_id="42",
                       fields=wrong)


class DebugToken(Reads):
    def look(self, token=TOKEN, **parameters):
        status, answer = self.get("debug_token", token,
                                  **dict({"input_token": token},
                                         **parameters))
        self.assertEqual(status, 200, answer)
        return answer["data"]

    def test_own_token(self):
        data = self.look()
        self.assertEqual(set(data), {
            "app_id", "type", "application", "is_valid", "issued_at",
            "expires_at", "data_access_expires_at", "user_id", "scopes",
            "granular_scopes"})
        self.assertEqual(
            (data["is_valid"], data["expires_at"], data["type"],
             data["scopes"], data["granular_scopes"]),
            (True, 0, "SYSTEM_USER", ["read_ads_dataset_quality"],
             [{"scope": "read_ads_dataset_quality"}]))
        self.assertLess(abs(time.time() - data["issued_at"]), 600)

    def test_limits_show(self):
        end = int(time.time()) + 3600
        self.control("POST", "tokens", {"add": [
            {"token": "short", "expires_at": end, "datasets": ["43", "42"]}]})
        data = self.look("short")
        self.assertEqual((data["expires_at"], data["granular_scopes"]), (
            end, [{"scope": "read_ads_dataset_quality",
                   "target_ids": ["42", "43"]}]))

    def test_bad_token(self):
        self.control("POST", "tokens", {"add": ["dead"]})
        self.control("POST", "tokens", {"expire": ["dead"]})
        self.fails(190, 463, "debug_token", token="dead", status=401,
                   input_token="dead")
        self.fails(190, None, "debug_token", token="never", status=401,
                   input_token="never")

    def test_another_token(self):
        self.control("POST", "tokens", {"add": ["other"]})
        self.fails(100, None, "debug_token", input_token="other")

    def test_parameters(self):
        self.fails(100, None, "debug_token")
        self.fails(100, None, "debug_token", input_token=TOKEN, x="1")
        self.fails(2500, None, "debug_token/x", input_token=TOKEN)
        self.fails(100, 33, "debug_token", method="POST", input_token=TOKEN)

    def test_a_form_that_is_a_get(self):
        form = urllib.parse.urlencode({"method": "GET", "input_token": TOKEN})
        status, _, body = self.raw(
            form.encode(), {"Authorization": "Bearer " + TOKEN,
                            "Content-Type":
                            "application/x-www-form-urlencoded"},
            "/v25.0/debug_token")
        self.assertEqual((status, json.loads(body)["data"]["is_valid"]),
                         (200, True))
        record = self.last_request()
        self.assertEqual((record["method"], record["token_in_url"]),
                         ("POST", False))
        self.assertNotIn(TOKEN, self.raw(
            None, {}, "/sandbox/body?request=%d" % record["request"],
            "GET")[2].decode())

    def test_the_token_is_seen_in_the_url(self):
        """Where Meta's documentation has it."""
        self.look()
        self.assertTrue(self.last_request()["token_in_url"])
        self.assertEqual(self.last_request()["token_in"], ["header"])
        self.assertNotIn(TOKEN, json.dumps(
            self.control("GET", "requests?headers=1")))


class Proof(Reads):
    arguments = ("--app-secret", "app-secret")

    def test_reads_need_it_too(self):
        proof = hmac.new(b"app-secret", TOKEN.encode(),
                         hashlib.sha256).hexdigest()
        self.fails(100, None, "42")
        self.fails(100, None, "42", appsecret_proof="0" * 64)
        self.assertEqual(self.get("42", appsecret_proof=proof)[0], 200)
        self.assertEqual(self.get("debug_token", input_token=TOKEN,
                                  appsecret_proof=proof)[0], 200)


class Plans(Reads):
    def test_only_for_a_call(self):
        self.misbehave(match={"call": "events"}, status=503)
        self.assertEqual(self.get("42")[0], 200)
        self.assertEqual(self.post([event()], path="/v25.0/42/events")[0],
                         503)
        self.misbehave(match={"call": ["debug_token", "dataset"]},
                       status=503, times=None)
        self.accepted(event(), path="/v25.0/42/events")
        self.assertEqual(self.get("42")[0], 503)
        self.assertEqual(self.get("debug_token", input_token=TOKEN)[0], 503)


if __name__ == "__main__":
    unittest.main()
