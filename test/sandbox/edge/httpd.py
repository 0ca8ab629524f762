"""HTTP/1.1 and TLS connections, a thread for each.

The same server class serves the edge (with TLS, usually) and the control
port (plain).  Paths under /sandbox/ go to control, all others are the edge.
Answers leave in one write, so that no delayed acknowledgement skews times.
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

from . import batch
from . import control
from .errors import MetaError, new_trace_id
from .misbehave import success_body

HUGE_CHUNK = b"x" * 65536
HANDSHAKE_TIMEOUT_S = 10
JSON_TYPE = "application/json; charset=UTF-8"


class Sandbox:
    """What all connections share."""

    def __init__(self, store, tokens, plans, datasets=(), app_secret=None,
                 max_body=32 * 1024 * 1024, idle_timeout_s=120,
                 max_connections=256):
        self.store = store
        self.tokens = tokens
        self.plans = plans
        self.datasets = frozenset(datasets)
        self.app_secret = app_secret
        self.max_body = max_body
        self.idle_timeout_s = idle_timeout_s
        self.max_connections = max_connections
        self.started_at = time.time()


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address, sandbox, tls_context=None,
                 control_only=False):
        self.sandbox = sandbox
        self.tls_context = tls_context
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


class Disconnect(Exception):
    """The connection must end now."""


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
        if self.server.tls_context:
            # In this thread, so that a client that never shakes hands
            # blocks nobody else.
            self.request.settimeout(HANDSHAKE_TIMEOUT_S)
            try:
                self.request = self.server.tls_context.wrap_socket(
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
            status, answer = control.handle(
                self.server.sandbox, self.command, self.path, body)
            self.reply(status, json.dumps(answer).encode() + b"\n")
        elif self.server.control_only:
            self.reply(404, b'{"error": "only /sandbox/ is here"}\n')
        else:
            self.serve_edge(body)

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

    # --- the edge ---------------------------------------------------------

    def serve_edge(self, body):
        """Judge one request, carrying out a planned failure if there is
        one, and record how it went."""
        sandbox = self.server.sandbox
        store = sandbox.store
        request = batch.parse(self.command, self.path, self.headers, body)
        record = self.new_record(request, body)
        store.open_request(record)
        try:
            plan = sandbox.plans.take(request)
            if plan is None:
                self.answer_honestly(request, record)
            else:
                record["misbehave"] = plan.number
                self.answer_as_planned(request, record, plan)
        except (OSError, Disconnect):
            if record["outcome"] in ("open", "hanging"):
                record["outcome"] = "gone"
            elif record["outcome"] != "misbehaved":
                record["answer_lost"] = True
            self.close_connection = True
        except Exception:
            store.internal_errors += 1
            record["outcome"] = "internal error"
            traceback.print_exc(file=sys.stderr)
            self.close_connection = True
        finally:
            store.close_request(record, request.events)

    def new_record(self, request, body):
        """What GET /sandbox/requests shows; never a token or a value."""
        sandbox = self.server.sandbox
        test_code = request.params.get("test_event_code")
        agent = request.params.get("partner_agent")
        return {
            "connection": self.connection_id,
            "method": self.command[:20],
            "api_version": request.version,
            "dataset": request.dataset,
            "events": len(request.events),
            "bytes": len(body),
            "content_type": request.content_type,
            "token_in": request.token_places,
            "token_in_url": "query" in request.token_places,
            "token": sandbox.tokens.number(request.tokens[0])
            if request.tokens else None,
            "test_event_code": test_code if type(test_code) is str else None,
            "partner_agent": agent if type(agent) is str else None,
            "user_agent": self.headers.get("User-Agent"),
            "tls": self.connection.version()
            if self.server.tls_context else None,
            "status": None, "code": None, "subcode": None,
            "error_event": None, "error_text": None,
            "accepted": 0, "warnings": {}, "misbehave": None,
            "fbtrace_id": None, "answer_lost": False,
        }

    def close_record(self, request, record, outcome):
        """Before the answer leaves, so that whoever has the answer finds
        the record complete."""
        self.server.sandbox.store.close_request(record, request.events,
                                                outcome=outcome)

    def judge(self, request, record):
        """(status, body) of the honest answer; counts what is accepted."""
        sandbox = self.server.sandbox
        trace_id = new_trace_id()
        record["fbtrace_id"] = trace_id
        try:
            warnings = batch.process(request, sandbox.tokens,
                                     sandbox.datasets, sandbox.app_secret,
                                     sandbox.store.now())
        except MetaError as error:
            record.update(status=error.status, code=error.code,
                          subcode=error.subcode, error_event=error.index,
                          error_text=error.user_msg or error.message)
            return error.status, json.dumps(error.body(trace_id)).encode()
        events = request.params["data"]
        sandbox.store.accept(record, request.dataset, events, warnings)
        record["status"] = 200
        return 200, success_body(len(events), [], trace_id)

    def answer_honestly(self, request, record):
        status, body = self.judge(request, record)
        self.close_record(request, record,
                          "accepted" if record["accepted"] else "refused")
        self.reply(status, body, self.edge_headers(request))

    def edge_headers(self, request, extra=()):
        """Headers of a Graph answer (SPEC 7, 8.5)."""
        return [("facebook-api-version", request.version or "v%d.0"
                 % batch.NEWEST_VERSION),
                ("Cache-Control", "no-store")] + list(extra)

    def answer_as_planned(self, request, record, plan):
        """In this order: delay, hang, judge (if it does), answer."""
        gate = self.server.sandbox.plans.gate()
        if plan.get("delay_ms"):
            self.pause(plan.get("delay_ms") / 1000)
        early = plan.get("hang") and plan.get("accept")
        honest = self.judge(request, record) if early else None
        if plan.get("hang"):
            self.server.sandbox.store.update_request(record,
                                                     outcome="hanging")
            self.pause(None, gate)
        if honest is None and plan.processes:
            honest = self.judge(request, record)
        extra = plan.header_lines()
        if not plan.replaces_answer and honest:
            if "events_received" in plan.spec or "messages" in plan.spec:
                honest = self.altered(honest, record, plan)
            self.close_record(request, record, "accepted"
                              if record["accepted"] else "refused")
            self.reply(honest[0], honest[1],
                       self.edge_headers(request, extra),
                       close=plan.get("close", False))
            return
        self.answer_falsely(request, record, plan, honest, extra)

    def altered(self, honest, record, plan):
        """An honest success with planned members (SPEC 8.1)."""
        if honest[0] != 200:
            return honest
        return 200, success_body(
            plan.get("events_received", record["accepted"]),
            plan.get("messages", []), record["fbtrace_id"])

    def answer_falsely(self, request, record, plan, honest, extra):
        """The client gets the planned answer, whatever was judged."""
        trace_id = record["fbtrace_id"] or new_trace_id()
        record["fbtrace_id"] = trace_id
        if plan.cut in ("before", "after"):
            record["status"] = None
            self.close_record(request, record, "misbehaved")
            self.cut()
        status, content_type, body = plan.answer(len(request.events),
                                                 trace_id)
        if plan.cut == "middle" and not any(
                name in plan.spec for name in ("status", "code", "body")):
            status, body = honest or (status, body)
        if "code" in plan.spec:
            record.update(code=plan.get("code"), subcode=plan.get("subcode"))
        if plan.get("huge"):
            status = plan.get("status", 200)
        record["status"] = status
        self.close_record(request, record, "misbehaved")
        headers = self.edge_headers(request, extra)
        if plan.get("huge"):
            self.reply_huge(status, plan.get("huge"), headers)
        elif plan.cut == "middle":
            self.wfile.write(self.head(status, len(body), headers,
                                       content_type or JSON_TYPE, True)
                             + body[:len(body) // 2])
            self.cut()
        else:
            self.reply(status, body, headers, content_type or JSON_TYPE,
                       close=plan.get("close", False))

    def pause(self, seconds, gate=None):
        """Wait for the time or the gate; stop when the client leaves."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = 0.05 if deadline is None else \
                min(0.05, deadline - time.monotonic())
            if left <= 0:
                return
            if gate is None:
                time.sleep(left)
            elif gate.wait(left):
                return
            if self.client_is_gone():
                raise Disconnect

    # --- answers ----------------------------------------------------------

    def head(self, status, length, headers, content_type, close):
        reason = self.responses.get(status, ("", ""))[0]
        lines = ["HTTP/1.1 %d %s" % (status, reason),
                 "Date: " + self.date_time_string(),
                 "Content-Type: " + content_type,
                 "Content-Length: %d" % length]
        lines += ["%s: %s" % pair for pair in headers]
        if close or self.close_connection:
            lines.append("Connection: close")
            self.close_connection = True
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def reply(self, status, body, headers=(), content_type=JSON_TYPE,
              close=False):
        head = self.head(status, len(body), headers, content_type, close)
        if self.command == "HEAD" or status in (204, 304):
            body = b""
        self.wfile.write(head + body)

    def reply_huge(self, status, size, headers):
        self.wfile.write(self.head(status, size, headers, JSON_TYPE, True))
        while size > 0:
            self.wfile.write(HUGE_CHUNK[:size])
            size -= len(HUGE_CHUNK)

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
