"""What the sandbox's own tests share: a running sandbox, and good events.

The client side is Python's http.client and ssl, verifying the sandbox's
certificate, so that the tests stand on nothing of the sandbox's own code.
"""

import hashlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TOKEN = "sandbox-token"
DATASET = "1234567890"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


EM = sha256("jane@example.com")


def event(**changes):
    """A good Purchase; a member given as None is left out."""
    members = {
        "event_name": "Purchase",
        "event_time": int(time.time()) - 5,
        "event_id": "order-1",
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_data": {"em": [EM], "client_user_agent": "test"},
        "custom_data": {"value": 12.5, "currency": "EUR"},
    }
    members.update(changes)
    return {name: value for name, value in members.items()
            if value is not None}


class Running:
    """A sandbox process; the certificates are made once for all."""

    tls_dir = None

    def __init__(self, *arguments, tls=True):
        if Running.tls_dir is None:
            Running.tls_dir = tempfile.mkdtemp(prefix="sandbox-test-")
        command = [sys.executable, "-B", os.path.join(HERE, "sandbox.py"),
                   "--exit-with-parent", *arguments]
        if "--tls-dir" not in arguments:
            command += ["--tls-dir", Running.tls_dir] if tls else ["--http"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ready = json.loads(self.process.stdout.readline())
        self.context = ssl.create_default_context(
            cafile=self.ready["ca_file"]) if tls else None

    def connect(self, timeout=30):
        if self.context is None:
            return http.client.HTTPConnection(
                "127.0.0.1", self.ready["port"], timeout=timeout)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.ready["port"], timeout=timeout,
            context=self.context)

    def control(self, method, path, body=None):
        """(status, answer) of one control call."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.ready["control_port"], timeout=60)
        try:
            connection.request(
                method, "/sandbox/" + path,
                None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stop(self):
        self.process.terminate()
        status = self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()
        return status


class SandboxTest(unittest.TestCase):
    """One sandbox for each test class, reset before each test."""

    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.sandbox = Running(*cls.arguments)
        cls.connection = cls.sandbox.connect()

    @classmethod
    def tearDownClass(cls):
        stats = cls.control("GET", "stats")
        cls.connection.close()
        status = cls.sandbox.stop()
        if status != 0 or stats["internal_errors"] != 0:
            raise AssertionError("exit status %d, internal errors %d"
                                 % (status, stats["internal_errors"]))

    def setUp(self):
        self.control("POST", "reset")
        # a test may have left the connection in the middle of something
        self.connection.close()

    @classmethod
    def control(cls, method, path, body=None):
        status, answer = cls.sandbox.control(method, path, body)
        if status != 200:
            raise AssertionError("control: %d %r" % (status, answer))
        return answer

    def raw(self, body, headers=None, path=None, method="POST",
            connection=None):
        """Send bytes; (status, headers, body bytes)."""
        connection = connection or self.connection
        connection.request(method, path or "/v25.0/%s/events" % DATASET,
                           body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def post(self, events, token=TOKEN, path=None, connection=None, **top):
        """Send events; (status, answer as JSON)."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = "Bearer " + token
        status, _, body = self.raw(
            json.dumps(dict({"data": events}, **top)).encode(), headers,
            path, connection=connection)
        return status, json.loads(body)

    def misbehave(self, **plan):
        return self.control("POST", "misbehave", plan)

    def accepted(self, *events, **top):
        status, answer = self.post(list(events), **top)
        self.assertEqual((status, answer.get("events_received")),
                         (200, len(events)), answer)
        return answer

    def refused(self, code, subcode, events, text=None, status=400, **how):
        """All of it refused, with these codes, and nothing kept."""
        before = self.control("GET", "stats")["events"]
        got, answer = self.post(events, **how)
        error = answer.get("error", {})
        self.assertEqual((got, error.get("code"), error.get("error_subcode")),
                         (status, code, subcode), answer)
        if text is not None:
            self.assertIn(text, error.get("error_user_msg",
                                          error["message"]))
        self.assertEqual(self.control("GET", "stats")["events"], before)
        return error

    def last_request(self):
        return self.control("GET", "requests?limit=1")["requests"][0]


def remove_certificates():
    if Running.tls_dir is not None:
        shutil.rmtree(Running.tls_dir, ignore_errors=True)
        Running.tls_dir = None
