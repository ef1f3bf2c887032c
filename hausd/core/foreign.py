"""What comes from elsewhere and is not what it should be."""

from __future__ import annotations

import msgspec

UNREADABLE_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding foreign JSON raises; the last where it is nested without end."""
