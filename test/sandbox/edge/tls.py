"""Throw-away certificates, made with the openssl command.

ensure() writes ca.pem (give it to the client), server.pem and server.key
into a directory, or keeps what is there as long as it is good.  The CA's key
is thrown away, so nothing else can ever be signed with it.
"""

import os
import ssl
import subprocess
import tempfile

SERVER_CONF = """
[req]
distinguished_name = name
prompt = no
[name]
CN = capi sandbox
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1,IP:::1,DNS:localhost
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""


def ensure(directory):
    """Return (ca_file, tls context for a server)."""
    directory = os.path.abspath(directory)
    os.makedirs(directory, exist_ok=True)
    ca_file = os.path.join(directory, "ca.pem")
    if not _still_good(directory):
        _make(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(os.path.join(directory, "server.pem"),
                            os.path.join(directory, "server.key"))
    return ca_file, context


def _still_good(directory):
    """All three there, and valid for another day."""
    names = [os.path.join(directory, name)
             for name in ("ca.pem", "server.pem", "server.key")]
    return all(os.path.exists(name) for name in names) and all(
        subprocess.run(["openssl", "x509", "-in", name, "-noout",
                        "-checkend", "86400"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL).returncode == 0
        for name in names[:2])


def _openssl(*arguments):
    done = subprocess.run(("openssl",) + arguments, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError("openssl %s failed: %s"
                           % (arguments[0], done.stderr.strip()))


def _make(directory):
    with tempfile.TemporaryDirectory() as scratch:
        def temp(name):
            return os.path.join(scratch, name)

        with open(temp("conf"), "w", encoding="ascii") as conf:
            conf.write(SERVER_CONF)
        for who in ("ca", "server"):
            _openssl("genpkey", "-algorithm", "EC", "-pkeyopt",
                     "ec_paramgen_curve:P-256", "-out", temp(who + ".key"))
        _openssl("req", "-x509", "-new", "-config", temp("conf"),
                 "-extensions", "ca", "-subj", "/CN=capi sandbox CA",
                 "-key", temp("ca.key"), "-days", "825",
                 "-out", temp("ca.pem"))
        _openssl("req", "-new", "-config", temp("conf"),
                 "-key", temp("server.key"), "-out", temp("csr"))
        _openssl("x509", "-req", "-in", temp("csr"), "-CA", temp("ca.pem"),
                 "-CAkey", temp("ca.key"), "-set_serial",
                 str(int.from_bytes(os.urandom(8), "big") | 1),
                 "-days", "825", "-extfile", temp("conf"), "-extensions",
                 "leaf", "-out", temp("server.pem"))
        for name in ("server.key", "server.pem", "ca.pem"):
            _install(temp(name), os.path.join(directory, name),
                     0o600 if name.endswith(".key") else 0o644)


def _install(source, target, mode):
    with open(source, "rb") as file:
        content = file.read()
    handle = os.open(target + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                     mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.chmod(target + ".new", mode)
    os.replace(target + ".new", target)
