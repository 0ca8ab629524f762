"""One answer, and the bytes it becomes on the wire.

Composed by serve and misbehave, written by httpd.
"""

import http.server

JSON_TYPE = "application/json; charset=UTF-8"
# How a client learns where the body ends; "broken" tells it nonsense.
FRAMINGS = ("length", "chunked", "close", "broken")
HUGE_CHUNK = b"x" * 65536
REASONS = http.server.BaseHTTPRequestHandler.responses


class Answer:
    def __init__(self, status, body=b"", content_type=JSON_TYPE, headers=(),
                 huge=0):
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.huge = huge              # bytes of rubbish instead of the body
        self.framing = "length"
        self.http10 = False
        self.close = False            # True, or "silent": without saying so
        self.drip = None              # {"bytes", "every_ms"}
        self.halfway = False          # stop in the middle of the body

    @property
    def ends_connection(self):
        return bool(self.close) or self.http10 or self.halfway \
            or self.huge or self.framing in ("close", "broken")

    def head(self, date, closing):
        """Status line and headers."""
        lines = ["HTTP/1.%d %d %s" % (not self.http10, self.status,
                                      REASONS.get(self.status, ("",))[0]),
                 "Date: " + date, "Content-Type: " + self.content_type]
        if self.framing == "length":
            lines.append("Content-Length: %d" % (self.huge
                                                 or len(self.body)))
        elif self.framing != "close":
            lines.append("Transfer-Encoding: chunked")
        lines += ["%s: %s" % pair for pair in self.headers]
        if closing and self.close != "silent" and not self.http10:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def pieces(self):
        """The body as it is to be written, piece by piece."""
        if self.halfway:
            yield self.framed(self.body[:len(self.body) // 2])
            return
        left = self.huge
        while left > 0:
            yield self.framed(HUGE_CHUNK[:left])
            left -= len(HUGE_CHUNK)
        if self.body:
            yield self.framed(self.body)
        if self.framing == "chunked":
            yield b"0\r\n\r\n"

    def framed(self, piece):
        if self.framing == "chunked":
            return b"%x\r\n%s\r\n" % (len(piece), piece)
        if self.framing == "broken":
            return b"no number\r\n%s\r\n" % piece
        return piece
