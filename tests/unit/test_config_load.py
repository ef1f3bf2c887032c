"""What is set counts in the promised order, in the forms that people write."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from hausd.config import Address, Config, Rung, compare, load
from hausd.config.show import shown
from hausd.config.units import (
    Wrong,
    parse_address,
    parse_bps,
    parse_bytes,
    parse_seconds,
    write_bps,
    write_bytes,
)
from hausd.events import chain_terms

MAINNET = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"


def test_arguments_beat_environment_beats_file_beats_defaults(tmp_path: Path) -> None:
    (tmp_path / "hausd.toml").write_text(
        '[http]\nlisten = "127.0.0.1:1"\n[log]\nlevel = "error"\n[live]\nwindow_s = 40\n'
    )
    environ = {"HAUSD_HTTP__LISTEN": "127.0.0.1:2", "HAUSD_LOG__LEVEL": "warning", "HOME": "x"}
    loaded = load(tmp_path, environ=environ, sets=["http.listen=127.0.0.1:3"])
    assert loaded.config.http.listen == Address("127.0.0.1", 3)
    assert loaded.config.log.level == "warning"
    assert loaded.config.live.window_s == 40
    assert loaded.config.ingest.reconnect_s == 60
    assert loaded.set_by == {
        "http.listen": "--set http.listen",
        "log.level": "environment HAUSD_LOG__LEVEL",
        "live.window_s": f"{tmp_path}/hausd.toml:6",
    }


def test_a_named_file_takes_the_place_of_the_homes(tmp_path: Path) -> None:
    (tmp_path / "hausd.toml").write_text("[live]\nwindow_s = 40\n")
    other = tmp_path / "other.toml"
    other.write_text("[log]\nlevel = 'debug'\n")
    config = load(tmp_path, file=other).config
    assert config.live.window_s == 30
    assert config.log.level == "debug"


@pytest.mark.parametrize(
    ("argument", "section", "key", "value"),
    [
        ("store.quota=20 GB", "store", "quota", 20 * 10**9),
        ("store.quota=512MiB", "store", "quota", 512 * 2**20),
        ("store.quota = 1000000", "store", "quota", 10**6),
        ("ingest.reconnect_s=2m", "ingest", "reconnect_s", 120.0),
        ("media.part_seconds=200ms", "media", "part_seconds", 0.2),
        ("media.part_seconds=0.5", "media", "part_seconds", 0.5),
        ("media.segment_seconds=4", "media", "segment_seconds", 4.0),
        ("media.ladder=[]", "media", "ladder", ()),
        (
            'media.ladder=[[360, "800k"], [720, 2800000]]',
            "media",
            "ladder",
            (Rung(720, 2_800_000), Rung(360, 800_000)),
        ),
        ("media.audio_bps=96k", "media", "audio_bps", 96_000),
        ("store.pin_own=false", "store", "pin_own", False),
        ("http.listen=[::1]:0", "http", "listen", Address("::1", 0)),
        ("http.listen=LOCALHOST:80", "http", "listen", Address("LOCALHOST", 80)),
        ("rtmp.listen=", "rtmp", "listen", None),
        ("chain.listen=127.0.0.1:0", "chain", "listen", Address("127.0.0.1", 0)),
        ("chain.rpc_url=http://127.0.0.1:8899", "chain", "rpc_url", "http://127.0.0.1:8899"),
        (f"chain.genesis={MAINNET}", "chain", "genesis", MAINNET),
        ("p2p.listen=/ip4/127.0.0.1/tcp/0", "p2p", "listen", "/ip4/127.0.0.1/tcp/0"),
        ("http.hostnames=a.example, B.example", "http", "hostnames", ("a.example", "b.example")),
        ("http.metrics_from=10.0.0.0/8", "http", "metrics_from", (ip_network("10.0.0.0/8"),)),
        ('http.hostnames=["a.example"]', "http", "hostnames", ("a.example",)),
        ("http.public_url='https://a.example'", "http", "public_url", "https://a.example"),
    ],
)
def test_arguments_are_written_as_people_write(
    tmp_path: Path, argument: str, section: str, key: str, value: object
) -> None:
    config = load(tmp_path, sets=[argument]).config
    assert getattr(getattr(config, section), key) == value


def test_relative_paths_start_at_the_home(tmp_path: Path) -> None:
    assert load(tmp_path).config.store.path == tmp_path / "store"
    assert load(tmp_path, sets=["store.path=/var/x"]).config.store.path == Path("/var/x")
    assert load(tmp_path, sets=["store.path=~/x"]).config.store.path == Path.home() / "x"


def test_insecure_allows_listening_off_loopback(tmp_path: Path) -> None:
    sets = ["http.listen=0.0.0.0:0", "rtmp.listen=0.0.0.0:0", "chain.listen=0.0.0.0:0"]
    config = load(tmp_path, sets=sets, insecure=True).config
    assert config.http.insecure
    assert config.rtmp.insecure


def test_a_certificate_allows_listening_off_loopback(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("live.example.org")
    made.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for blob in made.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "cert.pem"), append=True)
    sets = ["http.listen=0.0.0.0:0", "http.tls_cert=cert.pem", "http.tls_key=key.pem"]
    sets += ["rtmp.tls_listen=0.0.0.0:0", "chain.listen=0.0.0.0:0"]
    assert load(tmp_path, sets=sets).config.http.tls_cert == tmp_path / "cert.pem"


def test_a_reload_says_what_is_taken_over_and_what_waits(tmp_path: Path) -> None:
    old = load(tmp_path).config
    sets = ["log.level=debug", "http.listen=127.0.0.1:9", "store.quota=5 GB", "live.window_s=20"]
    new = load(tmp_path, sets=sets).config
    changes = compare(old, new)
    assert changes.applied == ("store.quota", "log.level")
    assert changes.needs_restart == ("http.listen", "live.window_s")
    assert changes.effective.log.level == "debug"
    assert changes.effective.store.quota == 5 * 10**9
    assert changes.effective.http.listen == old.http.listen
    assert compare(new, new).applied == ()


def test_the_configuration_is_shown_without_the_secrets_of_its_urls(tmp_path: Path) -> None:
    url = "https://user:hunter2@rpc.example.org/v1?api-key=topsecret"
    options = {each.key: each for each in shown(load(tmp_path, sets=[f"chain.rpc_url={url}"]))}
    assert options["chain.rpc_url"].value == (
        "https://[redacted]@rpc.example.org/v1?api-key=[redacted]"
    )
    assert options["http.listen"].value == "127.0.0.1:8080"
    assert options["chain.rpc_url"].set_by == "--set chain.rpc_url"


def test_endpoints_have_to_be_of_the_chain_that_is_named(tmp_path: Path) -> None:
    sets = ["chain.rpc_url=http://127.0.0.1:8899", f"chain.genesis={MAINNET}"]
    terms = chain_terms(load(tmp_path, sets=sets).config, None)
    assert terms is not None
    assert terms.genesis == MAINNET


def test_a_configuration_never_changes() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().log.level = "debug"  # type: ignore[misc]  # that is the point


@given(st.integers(0, 2**60))
def test_a_size_is_read_back_as_it_was_written(count: int) -> None:
    assert parse_bytes(write_bytes(count)) == count


@given(st.integers(0, 10**12))
def test_a_bit_rate_is_read_back_as_it_was_written(rate: int) -> None:
    assert parse_bps(write_bps(rate)) == rate


@pytest.mark.parametrize("text", ["1e3", "-1", "", "1 parsec", "∞", "1_0 GB", "nan", True, None])
def test_what_is_no_amount_is_refused(text: object) -> None:
    for parse in (parse_bytes, parse_bps, parse_seconds):
        with pytest.raises(Wrong):
            parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost."])
def test_loopback_is_known_by_any_of_its_names(host: str) -> None:
    assert Address(host, 1).loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "127.0.0.1.nip.io"])
def test_nothing_else_is_loopback(host: str) -> None:
    assert not Address(host, 1).loopback


@pytest.mark.parametrize("text", ["127.1:80", "[127.0.0.1]:80", "a b:80", "x:-1", ":80", "x:٣"])
def test_odd_addresses_are_refused(text: str) -> None:
    with pytest.raises(Wrong):
        parse_address(text)
