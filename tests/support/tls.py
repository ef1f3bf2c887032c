"""One TLS context for all HTTP clients of a run.

A client that is given none reads the certificates of all authorities: 30 ms of CPU, more than what
most of them are made for.
"""

from __future__ import annotations

import httpx

TLS = httpx.create_ssl_context()
