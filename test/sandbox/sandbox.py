#!/usr/bin/env python3
"""Run the sandbox: a strict stand-in for the Conversions API on loopback.

    python3 sandbox.py --tls-dir /tmp/capi-sandbox

prints one JSON line when it is ready, with the address, the certificate to
trust and the control address; then serves until SIGTERM, SIGINT, or, with
--exit-with-parent, until its standard input ends.  See README.md.
"""

import argparse
import gc
import json
import os
import signal
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from edge import httpd, misbehave, store, tls, tokens  # noqa: E402

DEFAULT_TOKEN = "sandbox-token"


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description="A strict stand-in for Meta's Conversions API.")
    parser.add_argument("--port", type=int, default=0,
                        help="port of the edge (default: any free one)")
    parser.add_argument("--control-port", type=int, default=0,
                        help="port of the control API, plain http "
                        "(default: any free one)")
    parser.add_argument("--http", action="store_true",
                        help="serve the edge without TLS")
    parser.add_argument("--tls-dir", metavar="DIR",
                        help="where ca.pem, server.pem and server.key are "
                        "made and kept (default: a temporary directory)")
    parser.add_argument("--token", action="append", metavar="TOKEN",
                        help="an access token that is good; repeatable "
                        "(default: %s)" % DEFAULT_TOKEN)
    parser.add_argument("--dataset", action="append", metavar="ID",
                        help="a dataset that exists; repeatable "
                        "(default: every id of digits)")
    parser.add_argument("--web-only-dataset", action="append", default=[],
                        metavar="ID", help="a dataset that exists and takes "
                        "no physical_store events; repeatable")
    parser.add_argument("--audience", action="append", default=[],
                        metavar="ID", help="a custom audience that exists; "
                        "repeatable (default: every id of digits)")
    parser.add_argument("--app-secret", metavar="SECRET",
                        help="demand an appsecret_proof made with it")
    parser.add_argument("--allow-token-in-url", action="store_true",
                        help="take an access token in the URL, as Meta does")
    parser.add_argument("--certificate", default="good",
                        choices=list(tls.KINDS), metavar="KIND",
                        help="begin with another certificate: "
                        + ", ".join(tls.KINDS))
    parser.add_argument("--log", metavar="FILE",
                        help="append one JSON line for each request; "
                        "no values, no tokens")
    parser.add_argument("--log-bodies", action="store_true",
                        help="also log the events of each request")
    parser.add_argument("--keep-events", type=int, default=100000,
                        metavar="N", help="how many events are kept whole "
                        "(all are counted; default: 100000)")
    parser.add_argument("--keep-requests", type=int, default=10000,
                        metavar="N", help="how many requests are kept "
                        "(default: 10000)")
    parser.add_argument("--keep-bytes", type=int, default=64 * 1024 * 1024,
                        metavar="N", help="how many bytes of request bodies "
                        "are kept (default: 64 MiB)")
    parser.add_argument("--max-body", type=int, default=32 * 1024 * 1024,
                        metavar="BYTES", help="larger bodies get status 413")
    parser.add_argument("--idle-timeout", type=float, default=120,
                        metavar="SECONDS", help="close quiet connections "
                        "(default: 120)")
    parser.add_argument("--exit-with-parent", action="store_true",
                        help="end when standard input ends")
    return parser.parse_args(arguments)


def make_sandbox(options, certificates):
    return httpd.Sandbox(
        store.Store(options.keep_events, options.keep_requests,
                    options.keep_bytes, options.log, options.log_bodies),
        tokens.Tokens(options.token or [DEFAULT_TOKEN]),
        misbehave.Plans(), certificates, options.dataset or (),
        options.web_only_dataset, options.app_secret,
        options.allow_token_in_url, options.max_body, options.idle_timeout,
        audiences=options.audience)


def main():
    options = parse_arguments()
    # A pipe, because threading's own events take a lock that a signal handler
    # may find taken by the very thread it interrupts.
    told_to_stop, stop = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: os.write(stop, b"."))

    # Events that are kept are no garbage; looking them through for some,
    # again and again, costs a third of the throughput.
    gc.set_threshold(100000, 50, 1000)
    scratch = None
    certificates = None
    if not options.http:
        directory = options.tls_dir
        if directory is None:
            scratch = tempfile.TemporaryDirectory(prefix="capi-sandbox-")
            directory = scratch.name
        certificates = tls.Certificates(directory)
        certificates.use(options.certificate)

    sandbox = make_sandbox(options, certificates)
    edge = httpd.Server(("127.0.0.1", options.port), sandbox)
    control = httpd.Server(("127.0.0.1", options.control_port), sandbox,
                           control_only=True)
    for server in (edge, control):
        threading.Thread(target=server.serve_forever, daemon=True,
                         kwargs={"poll_interval": 0.1}).start()

    print(json.dumps({
        "port": edge.port,
        "url": "%s://127.0.0.1:%d" % ("http" if options.http else "https",
                                      edge.port),
        "ca_file": certificates and certificates.ca_file,
        "control_port": control.port,
        "control_url": "http://127.0.0.1:%d" % control.port,
        "pid": os.getpid(),
    }), flush=True)

    if options.exit_with_parent:
        threading.Thread(target=wait_for_end_of_input, args=(stop,),
                         daemon=True).start()
    os.read(told_to_stop, 1)
    edge.server_close()
    control.server_close()
    if scratch is not None:
        scratch.cleanup()
    sys.stdout.flush()
    # Handler threads may be waiting for clients; nothing of theirs is worth
    # waiting for.
    os._exit(0)


def wait_for_end_of_input(stop):
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os.write(stop, b".")


if __name__ == "__main__":
    main()
