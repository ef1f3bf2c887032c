"""The admin socket: the API's privileged half, on a Unix socket in the home."""

from __future__ import annotations

from hausd.admin.app import admin_app
from hausd.admin.ports import NodeControl
from hausd.admin.server import serve_admin

__all__ = ["NodeControl", "admin_app", "serve_admin"]
