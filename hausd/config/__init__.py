"""Configuration: one commented TOML, its schema, its error messages; and the home directory."""

from __future__ import annotations

from hausd.config.chain import ChainConfig
from hausd.config.faults import ConfigError, Fault
from hausd.config.ipfs import IpfsConfig, PinningService
from hausd.config.load import Changes, Loaded, compare, load
from hausd.config.p2p import P2PConfig
from hausd.config.schema import (
    Config,
    HttpConfig,
    IngestConfig,
    LiveConfig,
    LogConfig,
    MediaConfig,
    NodeConfig,
    RtmpConfig,
    StoreConfig,
)
from hausd.config.units import Address, Rung

__all__ = [
    "Address",
    "ChainConfig",
    "Changes",
    "Config",
    "ConfigError",
    "Fault",
    "HttpConfig",
    "IngestConfig",
    "IpfsConfig",
    "LiveConfig",
    "Loaded",
    "LogConfig",
    "MediaConfig",
    "NodeConfig",
    "P2PConfig",
    "PinningService",
    "RtmpConfig",
    "Rung",
    "StoreConfig",
    "compare",
    "load",
]
