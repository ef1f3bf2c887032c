"""The real hausctl, against a real admin socket: what it says to people and to programs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from support.adminnode import STREAM_KEY, live_room, running
from support.hausctl import (
    ROOT,
    environment,
    hausctl,
    heed_interrupts,
    on_terminal,
    program,
)

from hausd import __version__
from hausd.core.ids import open_room_id

ROOM = open_room_id(b"r" * 32)
OTHER = open_room_id(b"s" * 32)


async def test_a_created_room_says_where_to_publish_with_which_key_and_where_to_watch(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (node, _):
        made = (await hausctl(tmp_path, "rooms", "create", "Night show", "--json")).json
        (room,) = node.known
        assert made == {
            "id": room,
            "title": "Night show",
            "state": "created",
            "ingest_url": "rtmp://127.0.0.1:1935/live",
            "stream_key": STREAM_KEY,
            "watch_url": f"http://127.0.0.1:8080/live/{room}/index.m3u8",
        }
        sealed = (await hausctl(tmp_path, "rooms", "create", "For few", "--gated", "--json")).json
        shown = await hausctl(tmp_path, "rooms", "show", sealed["id"])
        assert "encrypted: plays where its keys are" in shown.out
        said = await hausctl(tmp_path, "rooms", "create", "[b]Another[/b]")
        assert said.code == 0
        for each in ("[b]Another[/b]", STREAM_KEY, "rtmp://127.0.0.1:1935/live", "/index.m3u8"):
            assert each in said.out


@pytest.mark.parametrize(
    "arguments",
    [("--json", "rooms", "list"), ("rooms", "--json", "list"), ("rooms", "list", "--json")],
)
async def test_json_may_stand_anywhere(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    async with running(tmp_path) as (node, _):
        node.known[ROOM] = live_room(ROOM, "Night show")
        (room,) = (await hausctl(tmp_path, *arguments)).json
        assert room["id"] == ROOM
        assert room["stream_key"] is None


async def test_home_may_stand_after_the_command_or_in_the_environment(tmp_path: Path) -> None:
    async with running(tmp_path / "a"):
        asked = ["status", "--json", f"--home={tmp_path}/a"]
        assert (await hausctl(tmp_path / "b", *asked)).json["home"] == f"{tmp_path}/a"
        done = await trio.run_process(
            program("status", "--json"),
            capture_stdout=True,
            env=environment(HAUSD_HOME=str(tmp_path / "a")),
        )
        assert json.loads(done.stdout)["home"] == f"{tmp_path}/a"


async def test_without_a_node_one_sentence_says_so_and_what_to_do(tmp_path: Path) -> None:
    said = await hausctl(tmp_path, "status")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        f"hausctl: no node runs in {tmp_path}\n"
        f"  start it with: hausd --home {tmp_path}   (or name another home with --home)\n"
    )
    said = await hausctl(tmp_path, "rooms", "list", "--json")
    assert (said.code, said.err) == (1, "")
    assert said.json["error"]["code"] == "not-running"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("statu",), "No such command 'statu'. Did you mean 'status'?"),
        (("rooms", "show"), "Missing argument 'ROOM'."),
        (("events", "show"), "Missing argument 'EVENT'."),
        (("tickets", "buy"), "Missing argument 'EVENT'."),
        (("rooms",), "Missing command. Choose from create, list, show"),
        (("logs", "--count", "few"), "Invalid value for '--count' / '-n': not a whole number"),
        (("logs", "--level", "loud"), "Invalid value for '--level': 'loud' is not one of 'debug'"),
        (("--home", "", "status"), "--home needs a directory; it was given an empty name"),
        (("top", "--interval", "fast"), "Invalid value for '--interval'"),
        (("rooms", "export", "x", "--format", "avi"), "Invalid value for '--format'"),
        (("rooms", "export", "x", "-o", "film.avi"), "end the name in .car or .mp4"),
        (("rooms", "export", "x", "-o", "film.mp4", "--format", "unixfs"), "needs no file"),
        (("status", "--frobnicate"), "No such option: --frobnicate"),
        (("status", "--home"), "--home needs a directory"),
        (("rooms", "create", "Nacht \udcff"), "the command line is no text"),
        (
            ("rooms", "follow", "x", "--last", "0.5s"),
            "Invalid value for --last: '0.5s' is not 1s to 36500d",
        ),
        (
            ("pins", "add", "x", "--last", "36501d"),
            "Invalid value for --last: '36501d' is not 1s to 36500d",
        ),
        (("pins", "add", "x", "--until", "+9999999d"), "is not in the years 1971 to 8999"),
        (("peers", "ban", "x", "--for", "60"), "for --for: '60' is not a length of time"),
        (("peers", "ban", "x", "--for", "31d"), "Invalid value for --for: '31d' is not 1s to 30d"),
        (
            ("tickets", "use", "x", "--for", "367d"),
            "Invalid value for --for: '367d' is not 1s to 366d",
        ),
        (
            ("keys", "show", "--signer", 'a"b'),
            "Invalid value for --signer: 'a\"b' is no command line",
        ),
        (("keys", "show", "--signer", " "), "Invalid value for --signer: it names no program"),
        (("events", "create", "x", "--ticket-supply", "5000000000"), "at most 4294967295"),
        (("events", "create", "x", "--tip-extension", "999999w"), "is not 1s to 1h"),
        (("events", "create", "x", "--starts", "9999-12-31"), "is not in the years"),
        (("events", "create", "x", "--description", "é" * 4001), "it has 4,001 characters, 4,000"),
        (("events", "create", "x", *["--split", "y=1"] * 9), "9 shares are too many"),
    ],
)
async def test_wrong_usage_is_told_apart_from_refusals(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    said = await hausctl(tmp_path, *arguments)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
    if arguments[-1] != "--home":
        told = await hausctl(tmp_path, *arguments, "--json")
        assert told.code == 2
        assert told.json["error"]["code"] == "usage"
        assert message in told.json["error"]["message"]


async def test_wrong_usage_names_the_help_of_the_command_that_was_meant(tmp_path: Path) -> None:
    said = await hausctl(tmp_path, "rooms", "export", "x", "--format", "avi")
    assert said.err.splitlines()[-1] == "  see hausctl rooms export --help"


async def test_the_version_is_told_without_a_node(tmp_path: Path) -> None:
    done = await trio.run_process(program("--version"), capture_stdout=True, env=environment())
    assert done.stdout.decode() == f"hausctl {__version__}\n"
    assert (await hausctl(tmp_path, "--version", "--json")).json == {"version": __version__}
    assert "--version" in (await hausctl(tmp_path, "--help")).out


async def test_a_home_that_is_a_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = await hausctl(tmp_path / "file", "status")
    assert (said.code, said.err.splitlines()[0]) == (
        1,
        f"hausctl: {tmp_path}/file is not a directory, so no node's home",
    )


async def test_a_refusal_of_the_node_is_told_with_its_hint(tmp_path: Path) -> None:
    async with running(tmp_path):
        said = await hausctl(tmp_path, "rooms", "create", " ")
        assert said.code == 1
        assert said.err == ("hausctl: the title is empty\n  1 to 200 characters on one line\n")
        told = await hausctl(tmp_path, "rooms", "follow", ROOM, "--json")
        assert told.code == 1
        assert told.json["error"]["code"] == "no-network"


async def test_a_room_is_shown_with_everything_an_artist_has_to_know(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, _):
        node.known[ROOM] = live_room(ROOM, "Night [red]show")
        said = await hausctl(tmp_path, "rooms", "show", ROOM)
        for each in (
            "Night [red]show",
            ROOM,
            STREAM_KEY,
            f"http://127.0.0.1:8080/archive/{ROOM}/index.m3u8",
            "203.0.113.7 by RTMP",
            "FMLE/3.0 [OBS]",
            "it sent nothing for 20 s",
            "1920x1080 30 fps",
            "shed",
            "1.00 x real time",
            "landlock rlimits no seccomp",
            "the disk is full",
            "Set the keyframe interval to 2 s",
        ):
            assert each in said.out
        told = await hausctl(tmp_path, "rooms", "show", ROOM, "--json")
        assert told.json == node.known[ROOM].model_dump(mode="json")


async def test_a_room_may_be_named_by_the_beginning_of_its_id_or_its_title(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, _):
        node.known[ROOM] = live_room(ROOM, "Night show")
        node.known[OTHER] = live_room(OTHER, "Day show")
        unique = next(n for n in range(5, 60) if ROOM[:n] != OTHER[:n])
        for name in (ROOM, ROOM[:unique], ROOM[:unique] + "…", "Night show"):
            assert (await hausctl(tmp_path, "rooms", "close", name, "--json")).json["id"] == ROOM
        for name, code in ((ROOM[:5], "ambiguous"), ("Nobody", "not-found"), ("k51", "not-found")):
            said = await hausctl(tmp_path, "rooms", "close", name, "--json")
            assert said.json["error"]["code"] == code
        assert node.known[OTHER].state == "live"


async def test_titles_and_names_are_printed_as_they_are(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, _):
        title = "Show [/b] :warning:"
        node.known[ROOM] = live_room(ROOM, title)
        cid = "bafy[red]"
        for arguments, said in (
            (("rooms", "set", ROOM, "--preview", "5m"), f"{title}: the first 5 minutes are free."),
            (("rooms", "close", ROOM), f"{title} is closed."),
            (("rooms", "export", ROOM, "-o", "[/b].mp4"), "/[/b].mp4."),
            (("rooms", "list"), title),
            (("rooms", "show", ROOM), title),
            (("top", "--once"), title),
            (("pins", "add", cid), f"Pinned {cid}"),
            (("pins", "list"), cid),
            (("pins", "remove", cid), f"{cid} is pinned no more."),
        ):
            done = await hausctl(tmp_path, *arguments)
            assert (done.code, done.err) == (0, "")
            assert said in done.out


async def test_an_export_goes_where_the_user_stands(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, _):
        node.known[ROOM] = live_room(ROOM, "Night show")
        asked = ("rooms", "export", ROOM, "--format", "mp4", "-o", "film.mp4", "--json")
        made = (await hausctl(tmp_path, *asked)).json
        assert made["path"] == str(Path.cwd() / "film.mp4")
        assert node.exported_to == [Path.cwd() / "film.mp4"]
        made = (await hausctl(tmp_path, "rooms", "export", ROOM, "-o", "Film.MP4", "--json")).json
        assert made["path"] == str(Path.cwd() / "Film.MP4"), "the name tells the format"
        said = await hausctl(tmp_path, "rooms", "export", ROOM)
        assert "bafybeiexample" in said.out


async def test_pins_and_store(tmp_path: Path) -> None:
    async with running(tmp_path, steps=2, step_s=0.1):
        said = await hausctl(tmp_path, "pins", "list")
        assert said.out == "Nothing is pinned.\n"
        assert (await hausctl(tmp_path, "pins", "add", "bafkx", "--json")).json["kind"] == "cid"
        assert "bafkx" in (await hausctl(tmp_path, "pins", "list")).out
        whole = await hausctl(tmp_path, "pins", "verify")
        assert (whole.code, whole.out) == (0, "Checked 7 blocks: all of them are whole.\n")
        removed = await hausctl(tmp_path, "pins", "remove", "bafkx", "--json")
        assert removed.json == {"removed": "bafkx"}
        assert (await hausctl(tmp_path, "pins", "list", "--json")).json == []
        verified = await hausctl(tmp_path, "store", "verify", "--json")
        assert verified.json == {"checked": 40000, "corrupt": 2, "missing": 1, "repaired": 1}
        damaged = await hausctl(tmp_path, "store", "verify")
        assert "2 corrupt, 1 missing" in damaged.out
        assert (verified.code, damaged.code) == (1, 1), "a script sees that damage is left"
        assert "5.0 GB of 20.0 GB (25 %)" in (await hausctl(tmp_path, "store", "usage")).out
        assert (await hausctl(tmp_path, "store", "gc")).out == (
            "Removed 3 files (30.0 MB), kept 5.0 GB.\n"
        )


async def test_long_work_shows_a_bar_on_a_terminal(tmp_path: Path) -> None:
    async with running(tmp_path, steps=20, step_s=0.1):
        with on_terminal(tmp_path, "store", "gc") as terminal, trio.fail_after(120):
            assert await terminal.ended() == 0
        assert "Collecting" in terminal.seen
        assert "file 1" in terminal.seen
        assert "Removed 3 files" in terminal.seen


async def test_the_configuration_is_shown_and_reloaded(tmp_path: Path) -> None:
    async with running(tmp_path):
        said = await hausctl(tmp_path, "config", "show")
        assert "environment HAUSD_CHAIN__RPC_URL" in said.out
        assert "topsecret" not in said.out
        assert (await hausctl(tmp_path, "config", "reload")).out == (
            "Now in force: log.level.\nWaits for a restart: http.listen.\n"
        )


async def test_the_log_is_shown_and_followed(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, ring):
        now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        ring.append(now, "info", "hausd.x", "room-created", {"room": ROOM, "n": 3})
        ring.append(now, "error", "hausd.x", "failed", {"exception": "Traceback …\nValueError"})
        said = await hausctl(tmp_path, "logs")
        assert said.out == (
            f"12:00:00.000 info     room-created room={ROOM} n=3\n"
            "12:00:00.000 error    failed \nTraceback …\nValueError\n"
        )
        told = await hausctl(tmp_path, "logs", "--level", "error", "--json")
        assert [entry["event"] for entry in told.json] == ["failed"]
        process = await trio.lowlevel.open_process(
            program("logs", "-f", "-n", "1", "--json", "--home", str(tmp_path)),
            stdout=subprocess.PIPE,
            env=environment(),
            preexec_fn=heed_interrupts,
        )
        assert process.stdout is not None
        heard = b""
        with trio.fail_after(120):
            async for chunk in process.stdout:
                heard += chunk
                if heard.count(b"\n") == 2:
                    break
                ring.append(now, "info", "hausd.x", "later", {})
        assert [json.loads(line)["event"] for line in heard.splitlines()] == ["failed", "later"]
        process.send_signal(signal.SIGINT)
        with trio.fail_after(30):
            assert await process.wait() == 130


async def test_doctor_finds_what_is_wrong_and_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(0o755)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (tmp_path / "hausd.toml").write_text(
            f"[http]\nlisten = '127.0.0.1:{port}'\n[rtmp]\nlisten = '127.0.0.1:0'\n"
            "[p2p]\nlisten = '/ip4/127.0.0.1/tcp/0'\n[chain]\nlisten = ''\n"
        )
        said = await hausctl(tmp_path, "doctor")
        told = await hausctl(tmp_path, "doctor", "--json")
    assert said.code == told.code == 1
    assert f"chmod 700 {tmp_path}/keys" in said.out
    assert f"127.0.0.1:{port} is taken by process" in said.out
    by_name = {check["name"]: check for check in told.json}
    assert by_name["node"]["state"] == "warn"
    assert by_name["keys"]["state"] == by_name["ports"]["state"] == "fail"
    assert by_name["config"]["state"] == "ok"
    assert {"disk", "clock", "files", "sandbox", "home"} <= set(by_name)
    (tmp_path / "hausd.toml").write_text("[http]\nlisten = 3\n")
    said = await hausctl(tmp_path, "doctor")
    assert "hausd.toml:2: http.listen: 3 is not an address" in said.out


@pytest.mark.parametrize(
    ("host", "listen"), [("127.0.0.1", "/ip4/127.0.0.1/tcp/{}"), ("::1", "/ip6/::1/tcp/{}")]
)
async def test_doctor_looks_at_the_port_for_other_nodes_as_at_any_other(
    tmp_path: Path, host: str, listen: str
) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as other:
        other.bind((host, 0))
        port = other.getsockname()[1]
        (tmp_path / "hausd.toml").write_text(
            "[http]\nlisten = '127.0.0.1:0'\n[rtmp]\nlisten = '127.0.0.1:0'\n"
            f"[p2p]\nlisten = '{listen.format(port)}'\n[chain]\nlisten = ''\n"
        )
        other.listen()
        (found,) = await _ports(tmp_path)
    assert found["state"] == "fail"
    assert f":{port} is taken by process" in found["found"]
    assert found["mend"].endswith("p2p.listen in hausd.toml")
    (found,) = await _ports(tmp_path)
    assert (found["state"], "is free (p2p.listen)" in found["found"]) == ("ok", True)


async def test_doctor_looks_at_both_ports_of_the_nodes_own_chain(tmp_path: Path) -> None:
    own = "[chain]\nlisten = '127.0.0.1:{}'\n"
    rest = "[http]\nlisten = '127.0.0.1:0'\n[rtmp]\nlisten = '127.0.0.1:0'\n"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (tmp_path / "hausd.toml").write_text(rest + own.format(port - 1) + "[p2p]\nlisten = ''\n")
        found = (await _ports(tmp_path))[1]
        assert found["state"] == "fail"
        assert f"127.0.0.1:{port} is taken by process" in found["found"]
        assert found["mend"].endswith("chain.listen in hausd.toml")
        (tmp_path / "hausd.toml").write_text(
            f"{rest}{own.format(port)}rpc_url = 'http://127.0.0.1:1'\n[p2p]\nlisten = ''\n"
        )
        assert await _ports(tmp_path) == [], "where it uses another chain"


async def _ports(home: Path) -> list[dict[str, str]]:
    told = await hausctl(home, "doctor", "--json")
    return [check for check in told.json if check["name"] == "ports"]


async def test_doctor_asks_a_running_node_as_well(tmp_path: Path) -> None:
    async with running(tmp_path):
        told = await hausctl(tmp_path, "doctor", "--json")
    assert told.code == 0
    states = {check["name"]: check["state"] for check in told.json}
    assert states["node"] == "ok"
    assert states["encoders"] == "ok"


async def test_top_prints_one_frame_or_a_line_per_look(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, _):
        node.known[ROOM] = live_room(ROOM, "Night show")
        said = await hausctl(tmp_path, "top", "--once")
        for each in ("Night show", "8.4 Mbit/s", "1.00 x", "812 ms", "80.0 GB free", "no seccomp"):
            assert each in said.out
        told = await hausctl(tmp_path, "top", "--once", "--json")
        assert told.json["rooms"][0]["id"] == ROOM
        assert told.json["status"]["viewers"] == 3
        process = await trio.lowlevel.open_process(
            program("top", "--interval", "0.2", "--json", "--home", str(tmp_path)),
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        heard = b""
        with trio.fail_after(120):
            async for chunk in process.stdout:
                heard += chunk
                if heard.count(b"\n") >= 3:
                    break
        process.kill()
        await process.wait()
        assert json.loads(heard.splitlines()[1])["status"]["rooms"] == 1


async def test_top_lives_on_its_own_screen_follows_its_size_and_leaves_it_clean(
    tmp_path: Path,
) -> None:
    with trio.fail_after(120):
        async with running(tmp_path) as (node, _):
            for number in range(30):
                room = open_room_id(bytes([number]) * 32)
                node.known[room] = live_room(room, f"Show {number:02}")
            said = {"COLUMNS": "80", "LINES": "24"}  # as an exported variable does, which is old
            with on_terminal(tmp_path, "top", "--interval", "0.2", lines=20, **said) as terminal:
                frame = await terminal.until("and 19 more")
                assert "\x1b[?1049h" in frame
                assert "Show 10" in frame
                assert "Show 11" not in frame
                terminal.resize(100, 15)
                await terminal.until("and 24 more")
                terminal.press("q")
                assert await terminal.ended() == 0
                assert terminal.seen.endswith("\x1b[?25h\x1b[?1049l")
            with on_terminal(tmp_path, "top", "--interval", "0.2") as terminal:
                await terminal.until("Show 00")
                terminal.press("\x03")
                assert await terminal.ended() == 130
                assert "\x1b[?1049l" in terminal.seen


async def test_top_leaves_out_columns_rather_than_cut_them_all_on_a_narrow_terminal(
    tmp_path: Path,
) -> None:
    with trio.fail_after(120):
        async with running(tmp_path) as (node, _):
            node.known[ROOM] = live_room(ROOM, "Night show")
            with on_terminal(tmp_path, "top", columns=80, lines=24) as terminal:
                frame = await terminal.until("source")
                for each in ("Night show", "Title", "live", "8.4 Mbit/s", "1.00 x", "Viewers"):
                    assert each in frame
                assert ROOM[:8] not in frame
            with on_terminal(tmp_path, "top", columns=120, lines=40) as terminal:
                frame = await terminal.until("source")
                for each in (ROOM[:18], "Night show", "812 ms", "8.4 Mbit/s"):
                    assert each in frame


async def test_top_says_when_its_node_is_gone(tmp_path: Path) -> None:
    with trio.fail_after(120):
        async with running(tmp_path):
            with on_terminal(tmp_path, "top", "--interval", "0.2") as terminal:
                await terminal.until("no rooms yet")
                (tmp_path / "admin.sock").rename(tmp_path / "moved.sock")
                await terminal.until("these figures are old")
                (tmp_path / "moved.sock").rename(tmp_path / "admin.sock")


async def test_a_home_too_deep_for_a_sockets_address_is_reached(tmp_path: Path) -> None:
    home = tmp_path / ("deep-" * 20) / ("er-" * 20)
    async with running(home):
        assert (await hausctl(home, "status", "--json")).json["home"] == str(home)


async def test_the_shell_completes_commands_and_rooms(tmp_path: Path) -> None:
    script = (await hausctl(tmp_path, "completion", "bash")).out
    assert "_HAUSCTL_COMPLETE" in script
    async with running(tmp_path) as (node, _):
        node.known[ROOM] = live_room(ROOM, "Night show")

        async def complete(words: str) -> list[str]:
            typed = f"hausctl --home {tmp_path} {words}"
            done = await trio.run_process(
                ["bash", "-c", f"{script}\nCOMP_WORDS=({typed}); COMP_CWORD=$1; "
                 '_hausctl_completion hausctl; printf "%s\\n" "${COMPREPLY[@]}"', "bash",
                 str(len(typed.split()) - 1)],
                capture_stdout=True,
                env=environment(PATH=f"{made}:/usr/bin:/bin"),
            )  # fmt: skip
            return done.stdout.decode().split()

        made = tmp_path / "bin"
        made.mkdir()
        (made / "hausctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m hausctl "$@"\n')
        (made / "hausctl").chmod(0o755)
        assert await complete("stat") == ["status"]
        assert await complete("rooms sh") == ["show"]
        assert await complete("rooms show k51") == [ROOM]
    assert await complete("rooms show k51") == []


def test_a_command_imports_neither_pydantic_nor_the_daemon() -> None:
    watch = (
        "import sys\n"
        "from hausctl.__main__ import main\n"
        "try: main(['--home', '/nonexistent', 'status'])\n"
        "except SystemExit: pass\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "bad = loaded & {'pydantic', 'httpx', 'trio', 'fastapi', 'av', 'rich', 'psutil'}\n"
        "print(sorted(bad | {n for n in sys.modules if n.startswith('hausd.')}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", watch], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


async def test_pins_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, _):
        room = (await hausctl(tmp_path, "rooms", "create", "Saturday", "--json")).json["id"]
        pushed = await hausctl(tmp_path, "pins", "push", "Saturday")
        assert pushed.out.startswith("bafybeiexample is being pinned at pinata and kubo.")
        pinning, failed = node.elsewhere[room]
        node.elsewhere[room] = [
            pinning.model_copy(update={"state": "pinning", "percent": 40}),
            failed.model_copy(
                update={
                    "state": "failed",
                    "because": "it can't be reached",
                    "next_try": datetime.now(UTC) + timedelta(seconds=125),
                }
            ),
        ]
        shown = (await hausctl(tmp_path, "pins", "list")).out
        assert "pinning 40 %" in shown
        assert "failed (it can't be reached), again in 2 min 0" in shown
        (listed,) = (await hausctl(tmp_path, "pins", "list", "--json")).json
        assert (listed["target"], listed["here"], len(listed["remote"])) == (room, False, 2)
        one = await hausctl(tmp_path, "pins", "push", room, "--to", "pinata", "--json")
        assert [each["to"] for each in one.json] == ["pinata"]
        removed = await hausctl(tmp_path, "pins", "remove", room, "--from", "pinata", "--json")
        assert removed.json == {"removed": room, "from": "pinata"}
        again = await hausctl(tmp_path, "pins", "remove", room, "--from", "pinata")
        assert again.code == 1
        assert "is not pinned at pinata" in again.err
