"""What every HTTP server here shares: hypercorn, mended, and one app behind it."""

from __future__ import annotations

from hausd.serving.asgi import serving

__all__ = ["serving"]
