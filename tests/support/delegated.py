"""A delegated router (IPIP-337) that knows one provider of everything: an HTTP gateway."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def router_to(peer_id: str, http: str) -> Iterator[str]:
    """Says that ``peer_id`` has every block at ``http``; gives the router's URL."""
    host, _, port = http.removeprefix("http://").partition(":")
    provider = {
        "Schema": "peer",
        "ID": peer_id,
        "Addrs": [f"/ip4/{host}/tcp/{port}/http"],
        "Protocols": ["transport-ipfs-gateway-http"],
    }

    class Router(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.startswith("/routing/v1/providers/")
            self.send_response(200 if known else 404)
            self.send_header("content-type", "application/json")
            self.end_headers()
            if known:
                self.wfile.write(json.dumps({"Providers": [provider]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Router)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
