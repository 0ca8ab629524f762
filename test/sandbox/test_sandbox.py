"""The sandbox as a server: address, token, body forms, records, life.

The rules about events are in test_sandbox_rules.py, planned failures in
test_sandbox_misbehave.py.
"""

import hashlib
import hmac
import json
import os
import signal
import socket
import ssl
import tempfile
import threading
import time
import unittest
import urllib.parse

from sandbox_client import (DATASET, TOKEN, Running, SandboxTest, event,
                            remove_certificates)

PATH = "/v25.0/%s/events" % DATASET
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BEARER = {"Authorization": "Bearer " + TOKEN}


def tearDownModule():
    remove_certificates()


def body(*events, **top):
    return json.dumps(dict({"data": list(events) or [event()]},
                           **top)).encode()


class Address(SandboxTest):
    arguments = ("--dataset", DATASET, "--dataset", "42")

    def test_versions(self):
        for version in ("v21.0", "v26.0"):
            self.accepted(event(), path="/%s/42/events" % version)
        for version in ("v20.0", "v16.0", "v2.0"):
            self.refused(2635, None, [event()],
                         path="/%s/42/events" % version)
        for version in ("v27.0", "v25.1", "v25", "v999999.0"):
            self.refused(2500, None, [event()],
                         path="/%s/42/events" % version)
        self.refused(2635, None, [event()], path="/42/events")

    def test_version_header(self):
        _, headers, _ = self.raw(body(), dict(JSON, **BEARER))
        self.assertEqual(headers["facebook-api-version"], "v25.0")

    def test_paths(self):
        for path in ("/v25.0/42/event", "/v25.0/42/events/x", "/v25.0",
                     "/v25.0//events", "/v25.0/42/user", "/v25.0/42/",
                     "/v25.0/42/dataset", "/v25.0/debug_token/events"):
            self.refused(2500, None, [event()], path=path)
        self.refused(2635, None, [event()], path="/")
        self.refused(100, 33, [event()], path="/v25.0/42")

    def test_dataset(self):
        self.accepted(event(), path="/v25.0/42/events")
        self.refused(100, 33, [event()], path="/v25.0/43/events")
        self.refused(803, None, [event()], path="/v25.0/shop/events")

    def test_post_only(self):
        for method in ("GET", "DELETE", "PUT"):
            status, _, answer = self.raw(None, BEARER, PATH, method)
            self.assertEqual(status, 400)
            self.assertEqual(json.loads(answer)["error"]["error_subcode"],
                             33)


class Token(SandboxTest):
    def test_header_and_body(self):
        self.accepted(event())
        self.assertEqual(self.last_request()["token_in"], ["header"])
        self.accepted(event(), token=None, access_token=TOKEN)
        self.assertEqual(self.last_request()["token_in"], ["body"])
        self.assertFalse(self.last_request()["token_in_url"])
        self.assertEqual(self.control("GET", "stats")["tokens_in_url"], 0)

    def test_url_is_refused_and_counted(self):
        self.refused(190, None, [event()], "URL", token=None,
                     path=PATH + "?access_token=" + TOKEN)
        self.assertTrue(self.last_request()["token_in_url"])
        self.refused(190, None, [event()], "URL",
                     path=PATH + "?access_token=" + TOKEN)
        self.assertEqual(self.control("GET", "stats")["tokens_in_url"], 2)

    def test_missing_and_bad(self):
        self.refused(104, None, [event()], token=None)
        self.refused(190, None, [event()], token="wrong", status=401)
        self.refused(190, None, [event()], token="", status=401)
        self.refused(190, None, [event()], token=None, status=401,
                     access_token=17)

    def test_conflicting(self):
        self.accepted(event(), access_token=TOKEN)
        self.refused(190, None, [event()], status=401, access_token="other")

    def test_token_before_dataset_and_body(self):
        status, _, answer = self.raw(
            b"{", dict(JSON, Authorization="Bearer wrong"))
        self.assertEqual(status, 401, answer)

    def test_revoke_and_return(self):
        self.control("POST", "tokens", {"revoke": [TOKEN]})
        self.refused(190, 467, [event()], status=401)
        self.control("POST", "tokens", {"add": [TOKEN]})
        self.accepted(event())
        self.control("POST", "tokens", {"expire": [TOKEN]})
        self.refused(190, 463, [event()], status=401)
        self.control("POST", "tokens", {"add": [TOKEN, "second"]})
        self.accepted(event())
        first = self.last_request()["token"]
        self.accepted(event(), token="second")
        self.assertNotEqual(self.last_request()["token"], first)

    def test_until_a_time(self):
        now = int(time.time())
        self.control("POST", "tokens", {"add": [
            {"token": "short", "expires_at": now + 3600}]})
        self.accepted(event(), token="short")
        self.control("POST", "clock", {"offset_s": 3600})
        self.refused(190, 463, [event(event_time=now + 3500)], status=401,
                     token="short")

    def test_limited_to_datasets(self):
        self.control("POST", "tokens", {"add": [
            {"token": "limited", "datasets": ["5"]}]})
        self.accepted(event(), token="limited", path="/v25.0/5/events")
        self.refused(100, 33, [event()], token="limited",
                     path="/v25.0/6/events")

    def test_bad_calls_change_nothing(self):
        for bad in ({"add": "x"}, {"revoke": ["never-known"]}, {"ad": []},
                    {"add": [{"token": 5}]}, {"revoke": [{}]}, [],
                    {"add": [{"token": "x", "datasets": "42"}]},
                    {"add": [{"token": "x", "expires_at": "1"}]}):
            status, _ = self.sandbox.control("POST", "tokens", bad)
            self.assertEqual(status, 400, bad)
        self.accepted(event())


class TokenInUrl(SandboxTest):
    arguments = ("--allow-token-in-url",)

    def test_accepted_as_at_meta(self):
        self.accepted(event(), token=None,
                      path=PATH + "?access_token=" + TOKEN)
        self.assertTrue(self.last_request()["token_in_url"])
        self.assertIn("token_in_url", self.last_request()["warnings"])
        self.assertEqual(self.control("GET", "stats")["tokens_in_url"], 1)


class Proof(SandboxTest):
    arguments = ("--app-secret", "app-secret", "--token", "a", "--token", "b")

    @staticmethod
    def proof(token, secret="app-secret"):
        return hmac.new(secret.encode(), token.encode(),
                        hashlib.sha256).hexdigest()

    def test_proof(self):
        for token in "ab":
            self.accepted(event(), token=token,
                          appsecret_proof=self.proof(token))

    def test_wrong_or_missing(self):
        self.refused(100, None, [event()], token="a")
        for bad in (self.proof("b"), self.proof("a", "other"),
                    self.proof("a").upper(), "", 5):
            self.refused(100, None, [event()], token="a",
                         appsecret_proof=bad)


class Body(SandboxTest):
    def send(self, content, headers, path=PATH):
        status, _, answer = self.raw(content, dict(BEARER, **headers), path)
        return status, json.loads(answer)

    def sent(self, count, content, headers, path=PATH):
        status, answer = self.send(content, headers, path)
        self.assertEqual((status, answer.get("events_received")),
                         (200, count), answer)

    def bad(self, content, headers=JSON, subcode=None):
        status, answer = self.send(content, headers)
        error = answer["error"]
        self.assertEqual((status, error["code"], error.get("error_subcode")),
                         (400, 100, subcode), (content[:80], answer))

    def test_proof_without_secret_needs_only_its_form(self):
        self.accepted(event(), appsecret_proof="0" * 64)
        self.refused(100, None, [event()], appsecret_proof="abc")

    def test_form(self):
        for data in ([event(), event(event_id="2")],
                     [json.dumps(event()), json.dumps(event())]):
            self.sent(2, urllib.parse.urlencode({"data": json.dumps(data)}),
                      FORM)
        self.sent(2, urllib.parse.urlencode(
            {"data[0]": json.dumps(event()), "data[1]": json.dumps(event()),
             "test_event_code": "TEST9"}), FORM)
        self.assertEqual(self.last_request()["test_event_code"], "TEST9")

    def test_multipart(self):
        content = ("--xx\r\nContent-Disposition: form-data; name=\"data\""
                   "\r\n\r\n%s\r\n--xx--\r\n" % json.dumps([event()]))
        self.sent(1, content,
                  {"Content-Type": "multipart/form-data; boundary=xx"})

    def test_query_parameters(self):
        self.sent(1, urllib.parse.urlencode({"data": json.dumps([event()])}),
                  FORM, PATH + "?test_event_code=T1")
        status, answer = self.send(body(test_event_code="A"), JSON,
                                   PATH + "?test_event_code=B")
        self.assertEqual(answer["error"]["code"], 100)

    def test_chunked(self):
        self.sent(1, iter([body()[:10], body()[10:]]), dict(JSON))

    def test_client_that_waits_to_be_asked(self):
        self.sent(1, body(), dict(JSON, Expect="100-continue"))

    def test_not_json(self):
        for bad in (b"", b"{", b"[]", b"null", b"\xff", b'{"data": NaN}',
                    b'{"data": [], "data": []}', b"[" * 100000,
                    b'{"data": [{"event_id": "\\ud800"}]}',
                    b'{"a":' * 5000 + b"1" + b"}" * 5000):
            self.bad(bad)

    def test_doubled_names(self):
        good = json.dumps([event()])
        for name in ("data", "test_event_code"):
            self.bad(('{"data": %s, "%s": "a", "%s": %s}' % (
                good, name, name, good)).encode())
        self.bad(urllib.parse.urlencode(
            [("data", good), ("data", good)]), FORM)
        self.bad(b'{"data": [' + json.dumps(event()).encode()[:-1]
                 + b', "event_id": "other"}]}')

    def test_broken_body_without_a_token(self):
        status, _, answer = self.raw(b'{"access_token": "x', JSON)
        self.assertEqual((status, json.loads(answer)["error"]["code"]),
                         (400, 100))

    def test_endless_numbers(self):
        for number in (b"9" * 100000, b"1e999", b"-1e999"):
            sent = json.dumps(event(event_time=0)).encode()
            self.bad(b'{"data": [' + sent.replace(
                b'"event_time": 0', b'"event_time": ' + number) + b"]}",
                subcode=2804019)
            sent = json.dumps(event(custom_data={
                "currency": "EUR", "value": 0})).encode()
            self.bad(b'{"data": [' + sent.replace(
                b'"value": 0', b'"value": ' + number) + b"]}",
                subcode=2804019)

    def test_data(self):
        self.bad(b"{}")
        self.bad(b'{"data": "[]"}', subcode=2804019)
        self.bad(b'{"data": {}}', subcode=2804019)
        self.bad(b'{"data": ["{}"]}', subcode=2804019)

    def test_other_types_carry_nothing(self):
        self.bad(body(), {"Content-Type": "text/plain"})
        self.bad(body(), dict(JSON, **{"Content-Encoding": "gzip"}))


class Records(SandboxTest):
    def test_counts_by_id(self):
        self.accepted(event(), event(), event(event_id="2"))
        self.accepted(event(custom_data={"value": 99, "currency": "EUR"}))
        found = self.control("GET", "events?event_id=order-1")
        self.assertEqual((found["count"], found["total"]), (1, 3))
        row = found["events"][0]
        self.assertEqual(
            (row["dataset"], row["event_name"], row["count"],
             row["event"]["custom_data"]["value"]),
            (DATASET, "Purchase", 3, 99))
        stats = self.control("GET", "stats")
        self.assertEqual(
            (stats["events"], stats["distinct_events"], stats["duplicates"]),
            (4, 2, 2))
        brief = self.control("GET", "events?brief=1&limit=1")
        self.assertEqual(len(brief["events"]), 1)
        self.assertNotIn("event", brief["events"][0])

    def test_name_and_dataset_tell_events_apart(self):
        self.accepted(event(), event(event_name="Lead"))
        self.accepted(event(), path="/v25.0/77/events")
        for query, count in (("", 3), ("?dataset=77", 1),
                             ("?event_name=Lead", 1),
                             ("?event_id=order-1&dataset=" + DATASET, 2),
                             ("?event_id=order-1&event_name=Lead&dataset=77",
                              0)):
            self.assertEqual(self.control("GET", "events" + query)["count"],
                             count, query)

    def test_request_record(self):
        self.accepted(event(), event(event_id="2"))
        good = self.last_request()
        self.assertEqual(
            (good["events"], good["accepted"], good["status"], good["code"],
             good["outcome"], good["api_version"], good["tls"]),
            (2, 2, 200, None, "accepted", "v25.0", "TLSv1.3"))
        self.refused(100, 2804003, [event(event_time=1)])
        bad = self.last_request()
        self.assertEqual(
            (bad["accepted"], bad["status"], bad["code"], bad["subcode"],
             bad["outcome"]), (0, 400, 100, 2804003, "refused"))
        self.assertEqual(self.control("GET", "requests?since=%d"
                                      % good["request"])["count"], 1)

    def test_requests_can_be_chosen(self):
        self.accepted(event(event_id="a"), event(event_id="b"))
        self.refused(100, 2804003, [event(event_id="b", event_time=1)])
        self.accepted(event(event_id="c"), path="/v25.0/77/events")
        for query, count in (("", 3), ("event_id=b", 2), ("event_id=x", 0),
                             ("event_id=a&outcome=accepted", 1),
                             ("event_id=b&outcome=refused", 1),
                             ("dataset=77", 1), ("dataset=7", 0),
                             ("code=100", 1), ("subcode=2804003", 1),
                             ("call=events", 3), ("call=dataset", 0)):
            self.assertEqual(
                self.control("GET", "requests?" + query)["count"], count,
                query)

    def kept_body(self):
        number = self.last_request()["request"]
        status, _, content = self.raw(
            None, path="/sandbox/body?request=%d" % number, method="GET")
        self.assertEqual(status, 200)
        return content

    def test_headers_on_demand(self):
        self.accepted(event())
        self.assertNotIn("headers", self.last_request())
        record = self.control("GET", "requests?headers=1")["requests"][0]
        self.assertEqual(record["headers"]["content-type"],
                         "application/json")
        self.assertEqual(record["headers"]["authorization"], "***")

    def test_body_on_demand(self):
        sent = b' {"data" : []}\n'
        self.raw(sent, dict(JSON, **BEARER))
        self.assertEqual(self.kept_body(), sent)

    def test_body_on_demand_has_no_token(self):
        token = 'to"k /n\u00e4'
        self.control("POST", "tokens", {"add": [token]})
        params = {"data": [event()], "access_token": token}
        for kind, content in (
                ("application/json", json.dumps(params).encode()),
                ("application/json",
                 json.dumps(params, ensure_ascii=False).encode()),
                ("application/x-www-form-urlencoded", urllib.parse.urlencode(
                    {"data": json.dumps([event()]),
                     "access_token": token}).encode())):
            status, _, answer = self.raw(content, {"Content-Type": kind})
            self.assertEqual(status, 200, answer)
            kept = json.loads(self.kept_body())
            self.assertEqual(set(kept), {"data"})
            self.assertEqual(kept["data"][0]["event_id"], "order-1")
        self.raw(b'{"access_token": "x', JSON)
        self.assertEqual(self.kept_body(), b"")

    def test_same_id_with_another_content(self):
        self.accepted(event(event_id="a"))
        self.accepted(event(event_id="b"))
        first = self.control("GET", "events?event_id=a")["events"][0]
        self.accepted(first["event"])
        self.assertEqual(
            self.control("GET", "stats")["changed_duplicates"], 0)
        self.accepted(event(event_id="a", opt_out=True))
        stats = self.control("GET", "stats")
        self.assertEqual((stats["duplicates"], stats["changed_duplicates"]),
                         (2, 1))
        row = self.control("GET", "events?event_id=a")["events"][0]
        self.assertEqual((row["count"], row["changed"]), (3, 1))

    def test_without_an_id_nothing_is_a_duplicate(self):
        self.accepted(event(event_id=None), event(event_id=None))
        stats = self.control("GET", "stats")
        self.assertEqual((stats["events"], stats["duplicates"]), (2, 0))

    def test_reuse_of_connections_shows(self):
        self.accepted(event())
        self.accepted(event())
        other = self.sandbox.connect()
        self.accepted(event(), connection=other)
        other.close()
        ids = [row["connection"]
               for row in self.control("GET", "requests")["requests"]]
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])

    def test_wait(self):
        timer = threading.Timer(0.2, self.post, [[event()]])
        timer.start()
        answer = self.control("GET", "wait?events=1&timeout_s=20")
        timer.join()
        self.assertTrue(answer["reached"])
        answer = self.control("GET", "wait?events=2&timeout_s=0")
        self.assertFalse(answer["reached"])

    def test_control_on_the_edge_port(self):
        status, _, answer = self.raw(None, path="/sandbox/health",
                                     method="GET")
        self.assertEqual((status, json.loads(answer)["ok"]), (200, True))

    def test_control_mistakes(self):
        for method, path in (("GET", "events?id=1"), ("GET", "wait?event=1"),
                             ("GET", "requests?since=x"),
                             ("GET", "requests?events=1"),
                             ("GET", "body"), ("GET", "body?request=x"),
                             ("GET", "body?request=99999999"),
                             ("POST", "certificate"),
                             ("POST", "clock"), ("POST", "misbehave")):
            status, answer = self.sandbox.control(method, path)
            self.assertEqual(status, 400, path)
            self.assertIn("error", answer)
        self.assertEqual(self.sandbox.control("GET", "nothing")[0], 404)

    def test_no_edge_on_the_control_port(self):
        status, _ = self.sandbox.control("POST", "../v25.0/1/events")
        self.assertEqual(status, 404)


class Hostile(SandboxTest):
    arguments = ("--max-body", "200000", "--idle-timeout", "1")

    def talk(self, data):
        """Everything that comes back for these bytes, until it closes."""
        raw = socket.create_connection(
            ("127.0.0.1", self.sandbox.ready["port"]), 10)
        with self.sandbox.context.wrap_socket(
                raw, server_hostname="127.0.0.1") as tls:
            tls.sendall(data)
            got = b""
            try:
                while True:
                    part = tls.recv(65536)
                    if not part:
                        return got
                    got += part
            except (ssl.SSLError, ConnectionError):
                return got

    def test_not_http(self):
        for data in (b"\r\n\r\n", b"\x00\xff\x00\r\n\r\n",
                     b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n",
                     b"BREW /pot HTTP/1.1\r\n\r\n",
                     b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n"):
            self.talk(data)
        self.accepted(event())

    def test_bad_framing(self):
        head = b"POST /v25.0/1/events HTTP/1.1\r\nHost: x\r\n"
        for data, status in (
                (b"Content-Length: -1\r\n\r\n", b"400"),
                (b"Content-Length: 1x\r\n\r\n", b"400"),
                (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
                 b"400"),
                (b"Content-Length: 200001\r\n\r\n", b"413"),
                (b"Content-Length: " + b"9" * 60 + b"\r\n\r\n", b"413"),
                (b"Transfer-Encoding: gzip\r\n\r\n", b"400"),
                (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
                 b"400"),
                (b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
                (b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"400"),
                (b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", b"413")):
            self.assertEqual(self.talk(head + data).split(b" ")[1], status,
                             data)

    def test_body_that_never_comes(self):
        self.talk(b"POST /v25.0/1/events HTTP/1.1\r\n"
                  b"Content-Length: 100\r\n\r\nabc")
        self.accepted(event())

    def test_silent_and_plain_clients(self):
        address = ("127.0.0.1", self.sandbox.ready["port"])
        quiet = [socket.create_connection(address) for _ in range(20)]
        plain = socket.create_connection(address, 10)
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        self.accepted(event())        # nobody is kept from being served
        for each in quiet + [plain]:
            each.close()

    def test_mistrusting_client(self):
        raw = socket.create_connection(
            ("127.0.0.1", self.sandbox.ready["port"]), 10)
        with self.assertRaises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(
                raw, server_hostname="127.0.0.1")
        raw.close()

    def test_strange_values(self):
        for strange in (None, True, 0, -1, 1e308, "", "\x00", [], [[]], {},
                        {"a": {}}, [None], "\N{SNOWMAN}" * 1000, 10 ** 39):
            for name in event():
                self.post([event(**{name: strange})])
            for name in ("em", "fbc", "fbp", "lead_id", "external_id",
                         "client_ip_address"):
                self.post([event(user_data={name: strange})])
            for name in ("value", "currency", "contents", "content_type"):
                self.post([event(custom_data={
                    "value": 1, "currency": "EUR", name: strange})])
            for name in ("data_processing_options", "app_data",
                         "original_event_data"):
                self.post([event(**{name: strange})])
            self.post([event(app_data={"extinfo": [strange] * 16})])
            self.post([event()], test_event_code=strange)
            self.post([event()], token=None, access_token=strange)
            self.post(strange)
        # tearDownClass looks at internal_errors


class Life(unittest.TestCase):
    def test_plain_http(self):
        sandbox = Running(tls=False)
        self.assertEqual(sandbox.ready["url"], "http://127.0.0.1:%d"
                         % sandbox.ready["port"])
        self.assertIsNone(sandbox.ready["ca_file"])
        connection = sandbox.connect()
        connection.request("POST", PATH, body(), dict(JSON, **BEARER))
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        self.assertEqual(sandbox.stop(), 0)

    def test_ends_with_its_parent(self):
        sandbox = Running(tls=False)
        sandbox.process.stdin.close()
        self.assertEqual(sandbox.process.wait(10), 0)
        sandbox.process.stdout.close()

    def test_ends_on_signals_while_clients_wait(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            sandbox = Running(tls=False)
            sandbox.control("POST", "misbehave", {"hang": True})
            connection = sandbox.connect()
            connection.request("POST", PATH, body(), dict(JSON, **BEARER))
            sandbox.control("GET", "wait?hanging=1")
            sandbox.process.send_signal(number)
            self.assertEqual(sandbox.process.wait(10), 0)
            connection.close()
            sandbox.stop()

    def test_certificates_are_kept(self):
        first = Running()
        with open(first.ready["ca_file"], encoding="ascii") as file:
            before = file.read()
        first.stop()
        second = Running()
        with open(second.ready["ca_file"], encoding="ascii") as file:
            self.assertEqual(file.read(), before)
        for host in ("127.0.0.1", "localhost", "::1"):
            raw = socket.create_connection(
                ("127.0.0.1", second.ready["port"]))
            second.context.wrap_socket(raw, server_hostname=host).close()
        second.stop()
        key = os.path.join(Running.tls_dir, "server.key")
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)

    def test_log_holds_no_values_and_no_tokens(self):
        with tempfile.TemporaryDirectory() as folder:
            for options in ((), ("--log-bodies",)):
                log = os.path.join(folder, "log")
                sandbox = Running("--log", log, "--allow-token-in-url",
                                  *options, tls=False)
                connection = sandbox.connect()
                connection.request(
                    "POST", PATH + "?access_token=" + TOKEN,
                    body(event(event_id="find-me"), access_token=TOKEN),
                    dict(JSON, **BEARER))
                self.assertEqual(connection.getresponse().status, 200)
                connection.close()
                sandbox.stop()
                with open(log, encoding="utf-8") as file:
                    lines = file.read().splitlines()
                self.assertNotIn(TOKEN, lines[-1])
                self.assertEqual("find-me" in lines[-1], bool(options))
                self.assertEqual(json.loads(lines[-1])["accepted"], 1)

    def test_memory_is_bounded(self):
        sandbox = Running("--keep-events", "10", "--keep-requests", "2",
                          "--keep-bytes", "15000", tls=False)
        connection = sandbox.connect()
        for _ in range(3):
            connection.request("POST", PATH, body(
                *[event(event_id=str(n)) for n in range(20)]),
                dict(JSON, **BEARER))
            self.assertEqual(connection.getresponse().read()[:20],
                             b'{"events_received": ')
        connection.close()
        rows = sandbox.control("GET", "events")[1]["events"]
        self.assertEqual([row["count"] for row in rows], [3] * 20)
        self.assertEqual(sum(row["event"] is not None for row in rows), 10)
        self.assertEqual(sandbox.control("GET", "requests")[1]["count"], 2)
        self.assertEqual(sandbox.control("GET", "stats")[1]["requests"], 3)
        kept = []                     # bodies of 6 kB: two go into 15 kB
        for number in (1, 2, 3):
            connection.request("GET", "/sandbox/body?request=%d" % number)
            answer = connection.getresponse()
            answer.read()
            kept.append(answer.status)
        connection.close()
        self.assertEqual(kept, [400, 200, 200])
        sandbox.stop()

    def test_sustains_a_few_thousand_events_a_second(self):
        sandbox = Running()
        connection = sandbox.connect()
        sent = body(*[event(event_id=str(n)) for n in range(1000)])
        start = time.monotonic()
        for _ in range(10):
            connection.request("POST", PATH, sent, dict(JSON, **BEARER))
            answer = json.loads(connection.getresponse().read())
            self.assertEqual(answer.get("events_received"), 1000, answer)
        rate = 10000 / (time.monotonic() - start)
        connection.close()
        sandbox.stop()
        self.assertGreater(rate, 2000)


if __name__ == "__main__":
    unittest.main()
