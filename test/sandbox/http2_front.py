#!/usr/bin/env python3
"""HTTP/2 over TLS in front of a sandbox that is served with --http.

    python3 http2_front.py --tls-dir DIR --to PORT

prints one JSON line when it is ready, with its url and the certificate to
trust, and ends when its standard input does.  Each stream becomes a request to
the sandbox, with headers that tell whence it came:

    x-front-connection    number of the connection, from 1
    x-front-stream        number of the stream in it
    x-front-streams-open  how many streams it had open, this one included

Needs the package python3-h2; the sandbox itself does without.
"""

import argparse
import collections
import http.client
import json
import os
import queue
import select
import socket
import socketserver
import ssl
import sys
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from edge import tls  # noqa: E402

HOP_BY_HOP = frozenset(("connection", "keep-alive", "transfer-encoding",
                        "content-length", "upgrade"))


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, options, context):
        super().__init__(("127.0.0.1", 0), Connection)
        self.options = options
        self.context = context
        self.count = 0
        self.lock = threading.Lock()

    def next_number(self):
        with self.lock:
            self.count += 1
            return self.count

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Connection(socketserver.BaseRequestHandler):
    """One connection.  This thread alone touches its socket; a thread for
    each stream asks the sandbox and leaves the answer in a queue."""

    def setup(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = self.server.context.wrap_socket(self.request,
                                                   server_side=True)
        self.number = self.server.next_number()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8"))
        self.streams = {}             # id -> (headers, list of body parts)
        self.served = 0
        self.answers = queue.SimpleQueue()
        self.bell, self.rope = socket.socketpair()
        self.unsent = collections.deque()           # (stream, bytes left)

    def finish(self):
        for each in (self.bell, self.rope, self.tls):
            each.close()

    def handle(self):
        if self.tls.selected_alpn_protocol() != "h2":
            return
        self.h2.initiate_connection()
        open_ = True
        while open_:
            self.tls.sendall(self.h2.data_to_send())
            if not self.tls.pending():
                ready = select.select([self.tls, self.bell], [], [])[0]
                if self.bell in ready:
                    self.bell.recv(1000)
                    open_ = self.send_answers()
                if self.tls not in ready:
                    continue
            data = self.tls.recv(65536)
            open_ = open_ and data != b"" and self.receive(data)
        self.tls.sendall(self.h2.data_to_send())

    # --- from the client --------------------------------------------------

    def receive(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.streams[event.stream_id] = event.headers, []
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id)
                if event.stream_id in self.streams:
                    self.streams[event.stream_id][1].append(event.data)
            elif isinstance(event, h2.events.StreamEnded):
                self.begin(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.streams.pop(event.stream_id, None)
            elif isinstance(event, h2.events.WindowUpdated):
                self.send_unsent()
            elif isinstance(event, h2.events.ConnectionTerminated):
                return False
        return True

    def begin(self, stream):
        headers, parts = self.streams[stream]
        more = {"x-front-connection": str(self.number),
                "x-front-stream": str(stream),
                "x-front-streams-open": str(len(self.streams))}
        threading.Thread(target=self.ask, daemon=True, args=(
            stream, headers, b"".join(parts), more)).start()

    def ask(self, stream, headers, body, more):
        """In a thread of its own: the sandbox's answer, or None."""
        headers = dict(headers)
        method, path = headers[":method"], headers[":path"]
        sent = {name: value for name, value in headers.items()
                if name[0] != ":" and name not in HOP_BY_HOP}
        backend = http.client.HTTPConnection("127.0.0.1",
                                             self.server.options.to)
        try:
            backend.request(method, path, body, dict(sent, **more))
            answer = backend.getresponse()
            got = answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            got = None
        finally:
            backend.close()
        self.answers.put((stream, got))
        try:
            self.rope.send(b"x")
        except OSError:
            pass                      # the client has gone

    # --- to the client ----------------------------------------------------

    def send_answers(self):
        """Returns whether the connection stays open."""
        while not self.answers.empty():
            stream, answer = self.answers.get()
            if self.streams.pop(stream, None) is None:
                continue              # reset by the client
            self.served += 1
            if answer is None:
                self.h2.reset_stream(stream, 2)     # INTERNAL_ERROR
                continue
            status, headers, body = answer
            self.h2.send_headers(stream, [(":status", str(status))] + [
                (name.lower(), value) for name, value in headers
                if name.lower() not in HOP_BY_HOP])
            self.unsent.append((stream, body))
        self.send_unsent()
        most = self.server.options.most_streams
        if most and self.served >= most and not self.streams \
                and not self.unsent:
            self.h2.close_connection()              # GOAWAY
            return False
        return True

    def send_unsent(self):
        """As much as the windows allow."""
        for _ in range(len(self.unsent)):
            stream, left = self.unsent.popleft()
            try:
                while left is not None:
                    room = min(self.h2.local_flow_control_window(stream),
                               self.h2.max_outbound_frame_size)
                    if room == 0 and left:
                        self.unsent.append((stream, left))
                        break
                    last = len(left) <= room
                    self.h2.send_data(stream, left[:room], end_stream=last)
                    left = None if last else left[room:]
            except h2.exceptions.StreamClosedError:
                pass


def main():
    parser = argparse.ArgumentParser(
        description="HTTP/2 in front of the sandbox.")
    parser.add_argument("--tls-dir", metavar="DIR", required=True)
    parser.add_argument("--to", type=int, metavar="PORT", required=True,
                        help="where the sandbox is served with --http")
    parser.add_argument("--most-streams", type=int, default=0, metavar="N",
                        help="say goodbye to a connection after so many")
    options = parser.parse_args()

    certificates = tls.Certificates(options.tls_dir)
    certificates.context.set_alpn_protocols(["h2"])
    server = Server(options, certificates.context)
    port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": port, "url": "https://127.0.0.1:%d" % port,
                      "ca_file": certificates.ca_file}), flush=True)
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
