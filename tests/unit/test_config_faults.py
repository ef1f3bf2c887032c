"""Whoever writes a wrong configuration is told every fault, its place, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from hausd.config import ConfigError, load

WRONG = """\
# one of everything
[htp]
listen = "127.0.0.1:1"

[http]
lisen = "127.0.0.1:1"
listen = "8080"
"max_connections" = 3
idle_timeout_s = "soon"
hostnames = ["https://live.example.org"]

[media]
part_seconds = "3s"
ladder = [
  [720, "1M"],
  [721, "2M"],
]
segment_seconds = "1s"
preset = "veryfas"
quota = "1 GB"

[store]
quota = "lots"
pin_own = "yes"
path = ""

[ingest]
reconnect_s = -1
max_attempts = "ten"

[rtmp]
tls_listen = "127.0.0.1:70000"
listen = 1935
"""

WRONG_SAID = """\
hausd.toml:2: [htp]: there is no such section; did you mean [http]?
hausd.toml:6: http.lisen: there is no such option; did you mean http.listen?
hausd.toml:7: http.listen: '8080' lacks a host or a port; write HOST:PORT, as in \
"127.0.0.1:8080" or "[::1]:8080"
hausd.toml:8: http.max_connections: 3 is too little; at least 16
hausd.toml:9: http.idle_timeout_s: 'soon' is not a time; write a number of seconds, or a time \
such as "400ms", "10s", "5m" or "2h"
hausd.toml:10: http.hostnames: 'https://live.example.org' is not a host name; write names alone, \
as in ["live.example.org"]
hausd.toml:13: media.part_seconds: a part of 3 s doesn't fit into a GOP of 2 s; part_seconds has \
to be at most gop_seconds
hausd.toml:14: media.ladder: a rung of 721 pixels can't be encoded; take an even height: 720 or 722
hausd.toml:18: media.segment_seconds: a segment of 1 s can't hold a whole GOP of 2 s; \
segment_seconds has to be at least gop_seconds
hausd.toml:19: media.preset: 'veryfas' is not one of the choices; did you mean 'veryfast'? \
choose 'ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow' or 'slower'
hausd.toml:20: media.quota: there is no such option; did you mean store.quota?
hausd.toml:23: store.quota: 'lots' is not a size; write a number of bytes, or a size such as \
"20 GB" or "512 MiB"
hausd.toml:24: store.pin_own: 'yes' is neither true nor false; write true or false
hausd.toml:25: store.path: '' is not a path; name a file or directory
hausd.toml:28: ingest.reconnect_s: -1.0 is too little; at least 0
hausd.toml:29: ingest.max_attempts: 'ten' is not a whole number; write it without quotes, as in 10
hausd.toml:32: rtmp.tls_listen: '70000' is not a port; a port is a number from 0 to 65535
hausd.toml:33: rtmp.listen: 1935 is not an address; write HOST:PORT, as in "127.0.0.1:8080" or \
"[::1]:8080"\
"""


def said(home: Path, text: str = "", **how: object) -> str:
    """What a configuration's faults are called, with the home's path left out."""
    (home / "hausd.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(home, **how)  # type: ignore[arg-type]  # whatever a test passes on
    return str(caught.value).replace(f"{home}/", "")


def test_all_faults_of_a_file_are_told_at_once_with_line_key_and_remedy(tmp_path: Path) -> None:
    assert said(tmp_path, WRONG) == WRONG_SAID


def test_faults_of_environment_and_arguments_name_the_variable_and_the_argument(
    tmp_path: Path,
) -> None:
    environ = {"HAUSD_LOG__LEVL": "debug", "HAUSD_STORE__QUOTA": "much", "HAUSD_HOME": "/nowhere"}
    sets = ["live.window_s=2", "window_s=2", "p2p.listen=here", "nothing"]
    assert said(tmp_path, environ=environ, sets=sets) == (
        "environment HAUSD_LOG__LEVL: log.levl: there is no such option; did you mean log.level?\n"
        "--set window_s=2: this sets no option; write --set section.key=value, as in "
        "--set http.listen=127.0.0.1:8080\n"
        "--set nothing: this sets no option; write --set section.key=value, as in "
        "--set http.listen=127.0.0.1:8080\n"
        "--set live.window_s: 2.0 is too little; at least 6\n"
        "environment HAUSD_STORE__QUOTA: store.quota: 'much' is not a size; write a number of "
        'bytes, or a size such as "20 GB" or "512 MiB"\n'
        "--set p2p.listen: this is not a TCP multiaddr; write /ip4/ADDRESS/tcp/PORT, "
        'as in "/ip4/127.0.0.1/tcp/4001"'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[http]\nlisten = \n", "hausd.toml:2: this is not TOML: Invalid value; look at column 10"),
        (
            "[http\n",
            "hausd.toml:1: this is not TOML: Expected ']' at the end of a table declaration; "
            "look at column 6",
        ),
        (
            "[log]\nlevel = 'info'\nlevel = 'debug'\n",
            "hausd.toml:3: this is not TOML: Cannot overwrite a value; look at column 16",
        ),
        (
            "listen = '127.0.0.1:8080'\n",
            "hausd.toml:1: listen: there is no such option; did you mean http.listen or "
            "rtmp.listen or chain.listen or p2p.listen?",
        ),
        (
            "http = 3\n",
            "hausd.toml:1: http: this is a section, not an option; write [http] on a line of its "
            "own, and its options below",
        ),
        ("log.level = 3\n", "hausd.toml:1: log.level: 3 is not one of the choices; choose "
         "'debug', 'info', 'warning' or 'error'"),
        (
            "a = " + "[" * 5000,
            "hausd.toml: values are nested too deeply",
        ),
    ],
)  # fmt: skip
def test_text_that_is_no_configuration_is_told_with_its_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert said(tmp_path, text) == expected


def test_a_file_that_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "hausd.toml").write_bytes(b"[log]\n\nlevel = '\xff'\n")
    with pytest.raises(ConfigError, match=r"hausd\.toml:3: this is not UTF-8 text"):
        load(tmp_path)
    with pytest.raises(ConfigError, match=r"other\.toml: can't be read \(No such file"):
        load(tmp_path, file=tmp_path / "other.toml")
    with pytest.raises(ConfigError, match=r"can't be read \(Is a directory"):
        load(tmp_path, file=tmp_path)


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("[live]\nwindow_s = 6\n[media]\ngop_seconds = 4", "live.window_s", "fewer than three"),
        ("[http]\nlisten = '0.0.0.0:80'", "http.listen", "there is no TLS"),
        ("[rtmp]\nlisten = '192.0.2.1:1935'", "rtmp.listen", "stream keys in clear text"),
        ("[chain]\nlisten = '[::]:8899'", "chain.listen", "there is no TLS"),
        ("[http]\ntls_cert = 'a.pem'", "http.tls_cert", "a certificate without its key"),
        ("[rtmp]\ntls_key = 'a.pem'", "rtmp.tls_key", "a key without its certificate"),
        ("[rtmp]\ntls_listen = '127.0.0.1:1936'", "rtmp.tls_listen", "RTMPS needs a certificate"),
        (
            "[rtmp]\nlisten = '127.0.0.1:8080'",
            "rtmp.listen",
            "port 8080 is also that of http.listen",
        ),
        ("[http]\nlisten = '127.0.0.1:8900'", "http.listen", "port 8900 is also that of"),
        ("[p2p]\nlisten = '/ip4/0.0.0.0/tcp/1935'", "p2p.listen", "also that of rtmp.listen"),
        ("[p2p]\nlisten = '/ip4/1.2.3.400/tcp/1'", "p2p.listen", "not a TCP multiaddr"),
        ("[http]\npublic_url = 'live.example.org'", "http.public_url", "not such a URL"),
        ("[chain]\nrpc_url = 'http://[::1'", "chain.rpc_url", "not such a URL"),
        ("[chain]\ngenesis = 'mainnet'", "chain.genesis", "is not a hash"),
        ("[media]\nladder = [[720, '1M'], [360, '2M']]", "media.ladder", "are not more than"),
        ("[media]\nladder = [[720, '1M'], [720, '2M']]", "media.ladder", "in two rungs"),
        ("[media]\nladder = [[720, '1k']]", "media.ladder", "not a bit rate for video"),
        ("[http]\nmetrics_from = ['10.1.2.3/8']", "http.metrics_from", "is not a network"),
        ("[media]\nladder = [720]", "media.ladder", "is not a rung"),
        ("[media]\nladder = [[9000, '1M']]", "media.ladder", "not a rung's height"),
    ],
)
def test_options_that_are_right_alone_and_impossible_together_are_told(
    tmp_path: Path, text: str, key: str, problem: str
) -> None:
    line = len(text.splitlines()) if key.startswith("p2p") or "\n[media]" not in text else 2
    told = said(tmp_path, text)
    assert told.startswith(f"hausd.toml:{line}: {key}: ")
    assert problem in told
    assert "\n" not in told


def test_a_fault_is_told_once_and_not_again_by_what_follows_from_it(tmp_path: Path) -> None:
    told = said(tmp_path, "[http]\ntls_cert = 3\ntls_key = 'key.pem'")
    assert told == "hausd.toml:2: http.tls_cert: 3 is not a path; name a file or directory"


def test_a_certificate_is_read_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("nonsense")
    told = said(tmp_path, "[http]\ntls_cert = 'no.pem'\ntls_key = 'key.pem'")
    assert told == (
        "hausd.toml:2: http.tls_cert: no.pem can't be read (No such file or directory); "
        "name a PEM file that this user may read"
    )
    (tmp_path / "no.pem").write_text("nonsense")
    told = said(tmp_path, "[http]\ntls_cert = 'no.pem'\ntls_key = 'key.pem'")
    assert "no.pem and key.pem can't be used" in told


def test_a_large_bound_is_written_out(tmp_path: Path) -> None:
    assert said(tmp_path, sets=["store.quota=1"]) == (
        "--set store.quota: 1 is too little; at least 1000000"
    )
