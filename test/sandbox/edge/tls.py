"""Throw-away certificates, made with the openssl command.

Certificates() writes ca.pem (give it to the client), server.pem and server.key
into a directory, or keeps what is there as long as it is good.  The CA's key
lives in the memory of the process that made it, for the bad certificates, and
is gone with it, so nothing else can ever be signed with it.
"""

import os
import ssl
import subprocess
import tempfile
import threading

CONF = """
[req]
distinguished_name = name
prompt = no
[name]
CN = capi sandbox
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = %(names)s
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = signer
[signer]
database = %(folder)s/index
new_certs_dir = %(folder)s
rand_serial = yes
default_md = sha256
policy = anything
x509_extensions = leaf
unique_subject = no
[anything]
commonName = supplied
"""

OWN_NAMES = "IP:127.0.0.1,IP:::1,DNS:localhost"
# What can be wrong with a certificate: subjectAltName, arguments of
# "openssl ca" for its time, and whether the client knows its signer.
GOOD_FOR = ("-days", "825")
KINDS = {
    "good": (OWN_NAMES, GOOD_FOR, True),
    "other name": ("DNS:elsewhere.example", GOOD_FOR, True),
    "expired": (OWN_NAMES, ("-startdate", "20200101000000Z", "-enddate",
                            "20200201000000Z"), True),
    "unknown signer": (OWN_NAMES, GOOD_FOR, False),
}


class Certificates:
    """context is what new connections use; use() changes it."""

    def __init__(self, directory):
        self._lock = threading.Lock()
        self._directory = os.path.abspath(directory)
        self._signer_key = None
        self._contexts = {}
        os.makedirs(self._directory, exist_ok=True)
        self.ca_file = self._path("ca.pem")
        if not _still_good([self.ca_file, self._path("server.pem")],
                           self._path("server.key")):
            self._make_good()
        self._contexts["good"] = _context(self._path("server.pem"),
                                          self._path("server.key"))
        self.use("good")

    def _path(self, name):
        return os.path.join(self._directory, name)

    def use(self, kind):
        """Raises ValueError for a kind that cannot be had."""
        if type(kind) is not str or kind not in KINDS:
            raise ValueError("the certificates are: " + ", ".join(KINDS))
        with self._lock:
            if kind not in self._contexts:
                self._contexts[kind] = self._make_bad(kind)
            self.used = kind
            self.context = self._contexts[kind]

    def _make_good(self):
        with tempfile.TemporaryDirectory() as folder:
            _make_signer(folder)
            _make_leaf(folder, "good")
            for source, name, mode in (("key", "server.key", 0o600),
                                       ("leaf", "server.pem", 0o644),
                                       ("root", "ca.pem", 0o644)):
                _install(os.path.join(folder, source), self._path(name),
                         mode)
            with open(os.path.join(folder, "root.key"), "rb") as file:
                self._signer_key = file.read()

    def _make_bad(self, kind):
        known_signer = KINDS[kind][2]
        if known_signer and self._signer_key is None:
            raise ValueError("the certificates were made by an earlier run, "
                             "whose signing key is gone: start with a fresh "
                             "--tls-dir for bad ones")
        with tempfile.TemporaryDirectory() as folder:
            if known_signer:
                _install(self.ca_file, os.path.join(folder, "root"), 0o600)
                _write(os.path.join(folder, "root.key"), self._signer_key,
                       0o600)
            else:
                _make_signer(folder)
            _make_leaf(folder, kind)
            return _context(os.path.join(folder, "leaf"),
                            os.path.join(folder, "key"))


def _context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


def _still_good(certificates, key):
    """All there, and valid for another day."""
    return all(os.path.exists(name) for name in [*certificates, key]) \
        and all(subprocess.run(
            ["openssl", "x509", "-in", name, "-noout", "-checkend", "86400"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL).returncode == 0
            for name in certificates)


def _openssl(folder, *arguments):
    done = subprocess.run(("openssl",) + arguments, text=True, cwd=folder,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError("openssl %s failed: %s"
                           % (arguments[0], done.stderr.strip()))


def _write_conf(folder, names):
    _write(os.path.join(folder, "conf"),
           (CONF % {"names": names, "folder": folder}).encode(), 0o600)


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _make_signer(folder):
    """root and root.key."""
    _write_conf(folder, OWN_NAMES)
    _openssl(folder, "req", "-x509", "-config", "conf", "-extensions",
             "root", "-subj", "/CN=capi sandbox CA", *NEW_KEY, "-keyout",
             "root.key", "-days", "825", "-out", "root")


def _make_leaf(folder, kind):
    """leaf and key, signed by root."""
    names, time, _ = KINDS[kind]
    _write_conf(folder, names)
    _write(os.path.join(folder, "index"), b"", 0o600)
    _openssl(folder, "req", "-config", "conf", *NEW_KEY, "-keyout", "key",
             "-out", "request")
    _openssl(folder, "ca", "-batch", "-notext", "-config", "conf", "-cert",
             "root", "-keyfile", "root.key", *time, "-in", "request", "-out",
             "leaf")


def _install(source, target, mode):
    with open(source, "rb") as file:
        _write(target, file.read(), mode)


def _write(target, content, mode):
    """The whole file appears at once."""
    handle = os.open(target + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                     mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.chmod(target + ".new", mode)
    os.replace(target + ".new", target)
