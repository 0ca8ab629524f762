"""HTTP/1.1 and TLS connections, a thread for each.

The same server class serves the edge (with TLS, usually) and the control
port (plain).  Paths under /sandbox/ go to control, all others are the edge.
Hostile input may cost its own connection, never the process.
"""

import http.server
import json
import select
import socket
import socketserver
import ssl
import struct
import sys
import time
import traceback

from . import control
from .answer import Answer
from .audiences import Audiences
from .errors import new_trace_id
from .serve import Disconnect, Exchange

HANDSHAKE_TIMEOUT_S = 10


class Sandbox:
    """What all connections share."""

    def __init__(self, store, tokens, plans, certificates=None, datasets=(),
                 web_only=(), app_secret=None, allow_token_in_url=False,
                 max_body=32 * 1024 * 1024, idle_timeout_s=120,
                 max_connections=256, audiences=()):
        self.store = store
        self.tokens = tokens
        self.plans = plans
        self.certificates = certificates            # None: no TLS
        self.datasets = frozenset(datasets) | frozenset(web_only)
        self.any_dataset = not datasets
        self.web_only = frozenset(web_only)
        self.known_audiences = frozenset(audiences)
        self.audiences = Audiences()
        self.app_secret = app_secret
        self.allow_token_in_url = allow_token_in_url
        self.max_body = max_body
        self.idle_timeout_s = idle_timeout_s
        self.max_connections = max_connections
        self.started_at = time.time()
        self.quality = {}             # dataset -> list of web events
        self.hours_a_page = None      # of stats; None: all
        self.open = set()             # handlers of the edge's connections

    def has_dataset(self, dataset):
        return self.any_dataset or dataset in self.datasets

    def has_audience(self, audience):
        return not self.known_audiences or audience in self.known_audiences

    def is_consolidated(self, dataset):
        return dataset not in self.web_only


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address, sandbox, control_only=False):
        self.sandbox = sandbox
        self.control_only = control_only
        super().__init__(address, Handler)

    @property
    def port(self):
        return self.server_address[1]

    def handle_error(self, request, client_address):
        """A broken connection is the client's business; a bug is ours."""
        error = sys.exc_info()[1]
        if not isinstance(error, (OSError, ssl.SSLError)):
            self.sandbox.store.internal_errors += 1
            traceback.print_exc(file=sys.stderr)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "capi-sandbox"
    sys_version = ""
    disable_nagle_algorithm = True

    # --- connection -------------------------------------------------------

    def setup(self):
        sandbox = self.server.sandbox
        store = sandbox.store
        self.counted = False
        self.connection_id = 0
        if sandbox.certificates and not self.server.control_only:
            # In this thread, so that a client that never shakes hands
            # blocks nobody else.
            self.request.settimeout(HANDSHAKE_TIMEOUT_S)
            try:
                self.request = sandbox.certificates.context.wrap_socket(
                    self.request, server_side=True)
            except (OSError, ValueError):
                with store.changed:
                    store.tls_failures += 1
                raise OSError("TLS handshake failed") from None
        self.timeout = sandbox.idle_timeout_s
        super().setup()
        if not self.server.control_only:
            with store.changed:
                store.connections_total += 1
                store.connections_open += 1
                self.connection_id = store.connections_total
                self.counted = True
                sandbox.open.add(self)
                full = store.connections_open > sandbox.max_connections
            if full:
                self.finish()
                raise OSError("too many connections")

    def handle(self):
        try:
            super().handle()
        except (Disconnect, OSError, ValueError):
            # ValueError: http.server reading from a socket already closed
            pass

    def finish(self):
        if self.counted:
            self.counted = False
            with self.server.sandbox.store.changed:
                self.server.sandbox.open.discard(self)
                self.server.sandbox.store.connections_open -= 1
        try:
            super().finish()
        except (OSError, ValueError):
            pass
        try:
            self.request.close()
        except OSError:
            pass

    def cut(self):
        """Drop the connection with a reset, as a broken peer would."""
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.close_connection = True
        raise Disconnect

    def disconnect(self):
        """End it from another thread, whatever it is doing.  Below TLS,
        whose state belongs to the handler's own thread."""
        try:
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)
        except OSError:
            pass

    def tls_version(self):
        if isinstance(self.connection, ssl.SSLSocket):
            return self.connection.version()
        return None

    def client_is_gone(self):
        """While no answer was given, readable can only mean closed."""
        try:
            return bool(select.select([self.connection], [], [], 0)[0])
        except (OSError, ValueError):
            return True

    # --- requests ---------------------------------------------------------

    def do_GET(self):
        body = self.read_body()
        path = self.path.partition("?")[0]
        if path == "/sandbox" or path.startswith("/sandbox/"):
            self.send(control.handle(self.server.sandbox, self.command,
                                     self.path, body))
        elif self.server.control_only:
            self.reply(404, b'{"error": "only /sandbox/ is here"}\n')
        else:
            Exchange(self, body).run()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET

    def read_body(self):
        """The whole body, within max_body; anything doubtful ends the
        connection, because what follows could not be trusted."""
        lengths = self.headers.get_all("Content-Length", [])
        encodings = self.headers.get_all("Transfer-Encoding", [])
        if encodings:
            if lengths or [e.strip().lower() for e in encodings] \
                    != ["chunked"]:
                self.refuse(400, "bad Transfer-Encoding")
            return self.read_chunks()
        if not lengths:
            return b""
        if len(lengths) > 1 or not (lengths[0].isascii()
                                    and lengths[0].strip().isdecimal()):
            self.refuse(400, "bad Content-Length")
        if len(lengths[0]) > 18:
            self.refuse(413, "body too large")
        size = int(lengths[0])
        if size > self.server.sandbox.max_body:
            self.refuse(413, "body too large")
        body = self.rfile.read(size)
        if len(body) < size:
            self.cut()
        return body

    def read_chunks(self):
        parts, total = [], 0
        while True:
            line = self.rfile.readline(1025)
            size_text = line.partition(b";")[0].strip()
            if not line.endswith(b"\n") or not 1 <= len(size_text) <= 8:
                self.refuse(400, "bad chunk")
            try:
                if not size_text.isalnum():
                    raise ValueError
                size = int(size_text, 16)
            except ValueError:
                self.refuse(400, "bad chunk")
            total += size
            if total > self.server.sandbox.max_body:
                self.refuse(413, "body too large")
            if size == 0:
                break
            parts.append(self.rfile.read(size))
            if len(parts[-1]) < size or self.rfile.readline(3) != b"\r\n":
                self.refuse(400, "bad chunk")
        for _ in range(100):          # trailers
            if self.rfile.readline(65537) in (b"\r\n", b"\n", b""):
                return b"".join(parts)
        self.refuse(400, "too many trailers")

    def refuse(self, status, why):
        """Answer a request that is not even HTTP, and hang up."""
        self.send_error(status, why)
        raise Disconnect

    # --- answers ----------------------------------------------------------

    def send(self, answer):
        """In one write where possible, so that no delayed acknowledgement
        skews times."""
        if answer.ends_connection:
            self.close_connection = True
        head = answer.head(self.date_time_string(
            self.server.sandbox.store.now()), self.close_connection)
        if self.command == "HEAD" or answer.status in (204, 304):
            self.wfile.write(head)
            return
        if answer.drip:
            self.send_slowly(head + b"".join(answer.pieces()), answer.drip)
        elif answer.huge:
            self.wfile.write(head)
            for piece in answer.pieces():
                self.wfile.write(piece)
        else:
            self.wfile.write(head + b"".join(answer.pieces()))
        if answer.halfway:
            self.cut()

    def send_slowly(self, content, drip):
        for start in range(0, len(content), drip["bytes"]):
            self.wfile.write(content[start:start + drip["bytes"]])
            time.sleep(drip["every_ms"] / 1000)

    def reply(self, status, body):
        self.send(Answer(status, body))

    def send_error(self, code, message=None, explain=None):
        """http.server calls this for requests it cannot read."""
        self.close_connection = True
        text = message or self.responses.get(code, ("error", ""))[0]
        body = json.dumps({"error": {
            "message": str(text)[:200], "type": "OAuthException", "code": 1,
            "fbtrace_id": new_trace_id()}}).encode()
        self.command = getattr(self, "command", None) or "GET"
        self.reply(code, body)

    def log_message(self, format, *args):
        """Nothing: request lines may hold tokens."""
