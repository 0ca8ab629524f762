"""Serves one folder on loopback for a browser, with the cookies of a visitor,
and keeps what is posted: one JSON object a line, with the headers that matter.

    page_server.py FOLDER POSTED

Prints its port when it is ready, and ends when standard input does.
"""
import functools
import http.server
import json
import os
import sys
import threading

COOKIES = ('_fbp=fb.1.1700000000000.1098115397',
           'unrelated=_fbp=no',
           '_fbc=fb.1.1700000000001.IwAR-x_Y09')


class Handler(http.server.SimpleHTTPRequestHandler):
    posted = None

    def end_headers(self):
        for cookie in COOKIES:
            self.send_header('Set-Cookie', cookie + '; Path=/')
        super().end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        line = json.dumps({'path': self.path, 'body': body.decode(),
                           'user_agent': self.headers['User-Agent'],
                           'type': self.headers['Content-Type']})
        with open(self.posted, 'a', encoding='utf-8') as out:
            out.write(line + '\n')
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    Handler.posted = sys.argv[2]
    handler = functools.partial(Handler, directory=sys.argv[1])
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
