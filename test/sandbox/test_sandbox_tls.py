"""Certificates: the good one, and those that a client must not trust."""

import os
import socket
import ssl
import tempfile
import time
import unittest

from sandbox_client import (Running, SandboxTest, event,
                            remove_certificates)


def tearDownModule():
    remove_certificates()


class Fresh(SandboxTest):
    """In a folder of its own, so that the signing key is at hand."""

    @classmethod
    def setUpClass(cls):
        cls.before = Running.tls_dir
        cls.folder = tempfile.TemporaryDirectory()
        Running.tls_dir = cls.folder.name
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        Running.tls_dir = cls.before
        cls.folder.cleanup()

    def shake_hands(self, context=None, name="127.0.0.1"):
        with socket.create_connection(
                ("127.0.0.1", self.sandbox.ready["port"]), 10) as raw:
            (context or self.sandbox.context).wrap_socket(
                raw, server_hostname=name).close()

    def refused_because(self, text, context=None):
        with self.assertRaises(ssl.SSLCertVerificationError) as caught:
            self.shake_hands(context)
        self.assertIn(text, caught.exception.verify_message)

    def test_other_name(self):
        self.control("POST", "certificate", {"use": "other name"})
        self.refused_because("IP address mismatch")
        self.shake_hands(name="elsewhere.example")

    def test_expired(self):
        self.control("POST", "certificate", {"use": "expired"})
        self.refused_because("expired")

    def test_unknown_signer(self):
        self.control("POST", "certificate", {"use": "unknown signer"})
        self.refused_because("unable to get local issuer")

    def test_good_again(self):
        self.control("POST", "certificate", {"use": "expired"})
        self.control("POST", "certificate", {"use": "good"})
        self.shake_hands()
        self.control("POST", "certificate", {"use": "expired"})
        self.control("POST", "reset")
        self.shake_hands()

    def test_open_connections_go_on(self):
        self.accepted(event())
        self.control("POST", "certificate", {"use": "expired"})
        self.accepted(event())
        self.control("POST", "disconnect")
        self.connection.close()
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.post([event()])

    def test_failures_are_counted(self):
        before = self.control("GET", "stats")["tls_failures"]
        self.control("POST", "certificate", {"use": "expired"})
        self.refused_because("expired")
        # counted in a thread of its own, so perhaps a moment later
        end = time.monotonic() + 10
        while self.control("GET", "stats")["tls_failures"] == before:
            self.assertLess(time.monotonic(), end)

    def test_mistakes(self):
        for bad in ({"use": "worse"}, {"use": 5}, {}, {"certificate": "x"}):
            self.assertEqual(
                self.sandbox.control("POST", "certificate", bad)[0], 400)

    def test_nothing_but_the_good_is_left_in_the_folder(self):
        self.control("POST", "certificate", {"use": "expired"})
        self.assertEqual(sorted(os.listdir(self.folder.name)),
                         ["ca.pem", "server.key", "server.pem"])
        key = os.path.join(self.folder.name, "server.key")
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)


class Beginning(unittest.TestCase):
    def test_bad_one_from_the_beginning(self):
        with tempfile.TemporaryDirectory() as folder:
            sandbox = Running("--tls-dir", folder, "--certificate",
                              "expired")
            try:
                with self.assertRaises(ssl.SSLCertVerificationError):
                    sandbox.connect().connect()
            finally:
                sandbox.stop()

    def test_signing_key_is_gone_with_its_process(self):
        Running().stop()              # makes the certificates, if need be
        sandbox = Running()
        status, answer = sandbox.control("POST", "certificate",
                                         {"use": "expired"})
        self.assertEqual(status, 400)
        self.assertIn("--tls-dir", answer["error"])
        # that one needs no key of ours
        self.assertEqual(sandbox.control(
            "POST", "certificate", {"use": "unknown signer"})[0], 200)
        sandbox.stop()

    def test_without_tls_there_are_none(self):
        sandbox = Running(tls=False)
        self.assertEqual(sandbox.control(
            "POST", "certificate", {"use": "good"})[0], 400)
        sandbox.stop()


if __name__ == "__main__":
    unittest.main()
