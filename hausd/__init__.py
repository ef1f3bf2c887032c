"""hausd: a peer-to-peer node for ticketed live events."""

__version__ = "0.1.0"
