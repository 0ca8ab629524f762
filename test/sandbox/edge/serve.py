"""One request to the edge: recorded, judged or failed as planned, answered.

Called by httpd, whose Handler is the connection.
"""

import json
import traceback
import sys
import time

from . import access
from . import graph
from . import request as parsing
from .answer import Answer
from .errors import MetaError, new_trace_id
from .misbehave import success_body


class Disconnect(Exception):
    """The connection must end now."""


class Exchange:
    """A request and its answer, on one connection."""

    def __init__(self, handler, body):
        self.handler = handler
        self.sandbox = handler.server.sandbox
        self.store = self.sandbox.store
        self.request = parsing.parse(handler.command, handler.path,
                                     handler.headers, body)
        self.record = self.new_record(len(body))
        self.store.open_request(
            self.record, self.request.event_ids(), self.shown_headers(),
            self.request.shown_body(body))

    def new_record(self, size):
        """What GET /sandbox/requests shows; never a token or a value."""
        request, handler = self.request, self.handler
        test_code = request.params.get("test_event_code")
        agent = request.params.get("partner_agent")
        return {
            "connection": handler.connection_id,
            "http": handler.request_version[5:],
            "method": handler.command[:20],
            "call": request.call,
            "api_version": request.version,
            "dataset": request.dataset,
            "events": len(request.events),
            "bytes": size,
            "content_type": request.content_type,
            "token_in": request.token_places,
            "token_in_url": "query" in request.token_places
                            or "input_token" in request.in_url,
            "token": self.sandbox.tokens.number(request.tokens[0])
            if request.tokens else None,
            "test_event_code": test_code if type(test_code) is str else None,
            "partner_agent": agent if type(agent) is str else None,
            "user_agent": handler.headers.get("User-Agent"),
            "tls": handler.tls_version(),
            "status": None, "code": None, "subcode": None,
            "error_event": None, "error_text": None,
            "accepted": 0, "warnings": {}, "misbehave": None,
            "fbtrace_id": None, "answer_lost": False,
        }

    def shown_headers(self):
        return {name.lower(): "***" if name.lower() == "authorization"
                else value for name, value in self.handler.headers.items()}

    # --- from beginning to end --------------------------------------------

    def run(self):
        record = self.record
        try:
            plan = self.sandbox.plans.take(self.request)
            if plan is None:
                answer = self.judge()
                self.close_record("accepted" if answer.status == 200
                                  else "refused")
                self.handler.send(answer)
            else:
                record["misbehave"] = plan.number
                self.carry_out(plan)
        except (OSError, Disconnect):
            if record["outcome"] in ("open", "hanging"):
                record["outcome"] = "gone"
            elif record["outcome"] != "misbehaved":
                record["answer_lost"] = True
            self.handler.close_connection = True
        except Exception:
            self.store.internal_errors += 1
            record["outcome"] = "internal error"
            traceback.print_exc(file=sys.stderr)
            self.handler.close_connection = True
        finally:
            self.store.close_request(record, self.request.events)

    def close_record(self, outcome):
        """Before the answer leaves, so that whoever has the answer finds
        the record complete."""
        self.store.close_request(self.record, self.request.events,
                                 outcome=outcome)

    # --- the honest answer ------------------------------------------------

    def judge(self):
        """The honest Answer; counts the events it accepts."""
        record, request = self.record, self.request
        trace_id = record["fbtrace_id"] = new_trace_id()
        try:
            answer, warnings = graph.process(request, self.sandbox)
        except MetaError as error:
            record.update(status=error.status, code=error.code,
                          subcode=error.subcode, error_event=error.index,
                          error_text=error.user_msg or error.message)
            body = json.dumps(error.body(trace_id)).encode()
            return Answer(error.status, body, headers=self.edge_headers())
        record["status"] = 200
        if answer is None:
            events = request.params["data"]
            self.store.accept(record, request.dataset, events, warnings)
            body = success_body(len(events), [], trace_id)
        else:
            body = json.dumps(answer).encode()
        return Answer(200, body, headers=self.edge_headers())

    def edge_headers(self):
        """Headers of a Graph answer (SPEC 7, 8.5)."""
        return [("facebook-api-version", self.request.version
                 or "v%d.0" % access.NEWEST_VERSION),
                ("Cache-Control", "no-store")]

    # --- planned failures -------------------------------------------------

    def carry_out(self, plan):
        """In this order: delay, hang, judge (if it does), answer."""
        record, handler = self.record, self.handler
        gate = self.sandbox.plans.gate()
        if plan.get("delay_ms"):
            self.pause(plan.get("delay_ms") / 1000)
        early = plan.get("hang") and plan.get("accept")
        honest = self.judge() if early else None
        if plan.get("hang"):
            self.store.update_request(record, outcome="hanging")
            self.pause(None, gate)
        if honest is None and plan.processes:
            honest = self.judge()
        if plan.replaces_answer or honest is None:
            self.answer_falsely(plan, honest)
            return
        if "events_received" in plan.spec or "messages" in plan.spec:
            self.alter(honest, plan)
        self.close_record("accepted" if honest.status == 200 else "refused")
        handler.send(plan.dress(honest, self.request))

    def alter(self, honest, plan):
        """An honest success with planned members (SPEC 8.1)."""
        if honest.status == 200 and self.record["accepted"]:
            honest.body = success_body(
                plan.get("events_received", self.record["accepted"]),
                plan.get("messages", []), self.record["fbtrace_id"])

    def answer_falsely(self, plan, honest):
        """The client gets the planned answer, whatever was judged."""
        record, handler = self.record, self.handler
        record["fbtrace_id"] = record["fbtrace_id"] or new_trace_id()
        if plan.cut in ("before", "after"):
            record["status"] = None
            self.close_record("misbehaved")
            handler.cut()
        answer = plan.answer(len(self.request.events), record["fbtrace_id"])
        if plan.cut == "middle" and honest and not plan.has_answer:
            answer = honest
        if "code" in plan.spec:
            record.update(code=plan.get("code"), subcode=plan.get("subcode"))
        answer.halfway = plan.cut == "middle"
        if answer is not honest:
            answer.headers = self.edge_headers() + list(answer.headers)
        record["status"] = answer.status
        self.close_record("misbehaved")
        handler.send(plan.dress(answer, self.request))

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
            if self.handler.client_is_gone():
                raise Disconnect
