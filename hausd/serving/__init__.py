"""What every HTTP server here shares: hypercorn, mended, and one app behind it."""

from __future__ import annotations

from hausd.serving.asgi import serving
from hausd.serving.connections import Connections

__all__ = ["Connections", "serving"]
