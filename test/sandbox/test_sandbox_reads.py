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

    def test_stats_need_another_token(self):
        self.assertIn("Missing Permission", self.fails(100, None, "42/stats"))

    def test_quality(self):
        self.answers({}, "dataset_quality", dataset_id="42",
                     fields="web{event_name}")
        self.fails(100, None, "dataset_quality")
        self.fails(2500, None, "42/dataset_quality")

    def test_records(self):
        self.get("42", fields="id")
        record = self.last_request()
        self.assertEqual(
            (record["call"], record["dataset"], record["method"],
             record["status"], record["accepted"], record["outcome"]),
            ("dataset", "42", "GET", 200, 0, "accepted"))


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

    def test_the_token_is_seen_in_the_url(self):
        """There is no other place for input_token, so it only counts."""
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
