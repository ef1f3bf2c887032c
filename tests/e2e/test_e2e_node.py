"""Starting, stopping, reloading and asking a node, as its operator does."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import trustme
from support.node import node
from support.publish import publishing

pytestmark = pytest.mark.e2e


def hausd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hausd", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_first_start_makes_what_is_missing_and_keeps_keys_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with node(home) as one:
        assert set(one.words) == {"rtmp", "http", "admin", "peer", "chain"}
        assert one.get("/healthz").status_code == 200
        assert one.get("/readyz").status_code == 200
        rooms = one.ctl("rooms", "list")
        assert len(rooms) == 1, "there is a room to stream into from the first minute"
        assert one.stop() == 0
    secret = [home / "node.key", *home.glob("rooms/*"), home / "rooms"]
    assert len(secret) >= 3
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_node_takes_as_many_open_files_as_it_may_have(tmp_path: Path) -> None:
    few = ("sh", "-c", 'ulimit -S -n 256; ulimit -H -n 8192; exec "$@"', "sh")
    with node(tmp_path / "home", wrap=few) as one:
        limits = Path(f"/proc/{one.process.pid}/limits").read_text()
    assert [line.split()[3:5] for line in limits.splitlines() if "open files" in line] == [
        ["8192", "8192"]
    ]


def test_an_empty_home_is_not_the_current_directory() -> None:
    done = hausd("--home", "", "--check")
    assert done.returncode == 2
    assert "empty name" in done.stderr


def test_a_taken_port_names_its_key_and_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        free = {
            "http.listen": "127.0.0.1:0",
            "rtmp.listen": "127.0.0.1:0",
            "p2p.listen": "/ip4/127.0.0.1/tcp/0",
            "chain.listen": "127.0.0.1:0",
        }
        taken = {key: at.removesuffix("0") + str(port) for key, at in free.items()}
        for key, said in (
            ("http.listen", f"http.listen: 127.0.0.1:{port} is taken"),
            ("rtmp.listen", f"rtmp.listen: 127.0.0.1:{port} is taken"),
            ("p2p.listen", f"p2p.listen: /ip4/127.0.0.1/tcp/{port} is taken"),
            ("chain.listen", f"chain.listen: 127.0.0.1:{port} can't be listened on"),
        ):
            sets = free | {key: taken[key]}
            words = (word for each in sets.items() for word in ("--set", "=".join(each)))
            done = hausd("--home", str(tmp_path / key), *words)
            assert done.returncode == 1
            assert said in done.stderr
            assert "Traceback" not in done.stderr


def test_bad_configuration_ends_with_2_and_the_nearest_right_name(tmp_path: Path) -> None:
    done = hausd("--home", str(tmp_path / "home"), "--set", "media.laddr=[]")
    assert done.returncode == 2
    assert "media.ladder" in done.stderr
    assert hausd("--home", str(tmp_path / "home"), "--check").returncode == 0


def test_a_second_node_in_the_same_home_is_refused(tmp_path: Path) -> None:
    with node(tmp_path / "home") as one:
        done = hausd("--home", str(one.home), "--set", "http.listen=127.0.0.1:0")
        assert done.returncode == 1
        assert "another node" in done.stderr


def test_whoever_stops_it_twice_gets_the_same_orderly_end(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "home", "media.ladder=[]") as one:
        room = one.room()
        with publishing(looped_h264, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                one.process.send_signal(number)
            assert one.process.wait(30) == 0
        assert "Traceback" not in one.log.read_text()


def test_a_reload_takes_over_what_it_can_and_names_what_waits(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with node(home) as one:
        options = home / "hausd.toml"
        options.write_text(
            '[log]\nlevel = "debug"\n[store]\nsync_seconds = 7.0\n'
            "[rtmp]\nmax_connections_per_address = 1\n"
        )
        one.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while "config-reloaded" not in one.log.read_text():
            assert time.monotonic() < deadline, one.log.read_text()[-2000:]
            time.sleep(0.05)
        told = next(
            json.loads(line)
            for line in one.log.read_text().splitlines()
            if "config-reloaded" in line
        )
        assert "log.level" in told["applied"]
        assert "rtmp.max_connections_per_address" in told["applied"]
        assert "store.sync_seconds" in told["needs_restart"]
        at = (one.words["rtmp"].split(":")[0], int(one.words["rtmp"].split(":")[1]))
        with socket.create_connection(at) as first, socket.create_connection(at):
            first.settimeout(10)
            assert first.recv(1) == b"", "an idle connection made room for the second"
        options.write_text("[nonsense]\n")
        failed = one.ctl("config", "reload", code=1)
        assert "nonsense" in failed["error"]["message"]
        assert one.get("/healthz").status_code == 200


def test_https_and_http2_with_a_certificate(tmp_path: Path, looped_h264: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    chain, key, trusted = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    sets = (
        *(f"http.tls_cert={chain}", f"http.tls_key={key}", "rtmp.tls_listen=127.0.0.1:0"),
        *("media.ladder=[]", "media.images=false"),
    )
    with node(tmp_path / "home", *sets) as one:
        assert one.http.startswith("https://")
        room = one.room()
        # Debian's ffmpeg links GnuTLS, which trusts what is named here
        url = f"rtmps://{one.words['rtmps']}/live/{room['stream_key']}"
        arguments = ("-c", "copy", "-ca_file", str(trusted))
        with (
            publishing(looped_h264, url, arguments=arguments),
            httpx.Client(
                http2=True, verify=ssl.create_default_context(cafile=str(trusted)), timeout=10
            ) as client,
        ):
            live = f"{one.http}/live/{room['id']}/source/index.m3u8"
            deadline = time.monotonic() + 20
            while (answer := client.get(live)).status_code != 200:
                assert time.monotonic() < deadline, one.log.read_text()[-2000:]
                time.sleep(0.1)
            assert answer.http_version == "HTTP/2"
            part = next(line for line in answer.text.splitlines() if "EXT-X-PART:" in line)
            uri = part.partition('URI="')[2].partition('"')[0]
            media = client.get(f"{one.http}/live/{room['id']}/source/{uri}")
            assert media.status_code == 200
            assert media.headers["cache-control"].endswith("immutable")
        assert one.ctl("rooms", "show", room["id"])["publisher"]["protocol"] == "rtmps"


def test_a_closed_room_takes_no_more_and_its_recording_stays(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "home", "media.ladder=[]", "media.images=false") as one:
        room = one.room("To be closed")
        url = f"{one.rtmp}/{room['stream_key']}"
        with publishing(looped_h264, url) as process:
            one.wait_state(room["id"], "live")
            time.sleep(3)
            assert one.ctl("rooms", "close", room["id"])["state"] == "closed"
            process.wait(20)
        text = one.get(f"/archive/{room['id']}/source/index.m3u8").text
        assert text.rstrip().endswith("#EXT-X-ENDLIST")
        with publishing(looped_h264, url) as again:
            assert again.wait(20) != 0
        assert one.ctl("rooms", "show", room["id"])["state"] == "closed"


def test_metrics_and_logs_tell_of_the_stream_and_hold_no_secret(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "home", "media.ladder=[]", "media.images=false") as one:
        room = one.room()
        with publishing(looped_h264, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
            time.sleep(2)
            metrics = one.get("/metrics").text
            shown = one.ctl("top", "--once")
        assert "hausd_room_parts_total" in metrics
        assert shown
        secret = room["stream_key"]
        told = metrics + one.log.read_text() + json.dumps(one.ctl("logs"))
        assert secret not in told
        assert secret.removeprefix("sk_") not in told
        assert secret not in one.get(f"/api/v1/rooms/{room['id']}").text
        checks = one.ctl("doctor", code=0)
        assert {check["state"] for check in checks} <= {"ok", "warn"}
