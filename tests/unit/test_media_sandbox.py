"""A media worker that was taken over can do nothing but encode."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALL = {"nice", "rlimits", "no-new-privileges", "landlock", "capabilities", "seccomp"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


def inside(program: str, memory_bytes: int = 0, nice: int = 3) -> dict[str, object]:
    """Runs ``program`` behind ``enter`` in a process of its own; what it leaves in ``told``."""
    enter = f"told['holds'], told['missing'] = sandbox.enter({memory_bytes}, {nice})"
    whole = f"""
import errno, json, os, socket, subprocess, sys, threading
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from hausd.media import encoder, ladder, sandbox
from hausd.media.units import CodedVideo
told = {{}}
def tries(name, act):
    try:
        act()
    except OSError as failure:
        told[name] = errno.errorcode[failure.errno]
    except BaseException as failure:
        told[name] = type(failure).__name__
    else:
        told[name] = "done"
before = os.nice(0)
{textwrap.dedent(program).replace("ENTER", enter)}
print(json.dumps(told))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", whole], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "there").write_text("secret")
    listener_path = folder / "socket"
    return inside(f"""
        folder = {str(folder)!r}
        pair = socket.socketpair()
        ENTER
        told["nice"] = os.nice(0) - before
        tries("socket", socket.socket)
        tries("unix socket", lambda: socket.socket(socket.AF_UNIX))
        tries("pair", socket.socketpair)
        tries("connect", lambda: pair[0].connect({str(listener_path)!r}))
        tries("listen", lambda: pair[0].listen())
        tries("create", lambda: open(folder + "/new", "w"))
        tries("append", lambda: open(folder + "/there", "a"))
        tries("truncate", lambda: os.truncate(folder + "/there", 0))
        tries("read", lambda: open(folder + "/there").read())
        tries("passwd", lambda: open("/etc/passwd").read())
        tries("list", lambda: os.listdir(folder))
        tries("unlink", lambda: os.unlink(folder + "/there"))
        tries("rename", lambda: os.rename(folder + "/there", folder + "/else"))
        tries("mkdir", lambda: os.mkdir(folder + "/dir"))
        tries("chmod", lambda: os.chmod(folder + "/there", 0o777))
        tries("utime", lambda: os.utime(folder + "/there"))
        tries("exec", lambda: os.execv("/bin/true", ["true"]))
        tries("fork", os.fork)
        tries("spawn", lambda: subprocess.run(["/bin/true"]))
        tries("kill", lambda: os.kill(os.getppid(), 0))
        tries("core", lambda: __import__("resource").setrlimit(4, (1 << 20, 1 << 20)))
        tries("pipe is open", lambda: (pair[0].sendall(b"x"), pair[1].recv(1)))
        thread = threading.Thread(target=lambda: tries("in a thread", socket.socket))
        thread.start(); thread.join()
        tries("late import", lambda: __import__("wave"))
    """)


def test_everything_holds_on_a_kernel_that_has_it_all(told: dict[str, object]) -> None:
    assert set(told["holds"]) == ALL
    assert told["missing"] == []
    assert told["nice"] == 3


@pytest.mark.parametrize(
    "what",
    [
        *("socket", "unix socket", "pair", "connect", "listen", "in a thread"),
        *("create", "append", "truncate", "read", "passwd", "list", "unlink", "rename", "mkdir"),
        *("chmod", "utime", "exec", "fork", "spawn", "kill"),
    ],
)
def test_it_can_not(told: dict[str, object], what: str) -> None:
    assert told[what] in ("EPERM", "EACCES", "EXDEV"), what


def test_limits_can_not_be_raised_again(told: dict[str, object]) -> None:
    assert told["core"] in ("EPERM", "ValueError")


def test_what_it_needs_still_works(told: dict[str, object]) -> None:
    assert told["pipe is open"] == "done"
    assert told["late import"] == "done"


def test_encoding_works_inside_and_memory_is_bounded(tmp_path: Path) -> None:
    from hausd.media.demo import Shape, write

    path = tmp_path / "in.mp4"
    write(str(path), Shape(320, 180, video_bps=300_000), seconds=1)
    result = inside(
        f"""
        from support.laddercheck import Taken, push_all, read_source
        from hausd.media.images import Images
        from hausd.policy.ladder import Rung, source_rung
        source, units = read_source({str(path)!r})
        ENTER
        taken, images = Taken(), []
        drawn = Images(0, lambda made, jpeg: images.append(made.use))
        rungs = (source_rung(320, 180, None), Rung("90p", 160, 90, 100_000))
        with ladder.Ladder(source, rungs, taken, cores=4,
                           on_picture=lambda p, pts: drawn.offer_frame(p, pts // 90)) as made:
            push_all(made, units)
            told["flushed"] = made.flush(60)
        drawn.close()
        told["frames"] = {{name: len(frames) for name, frames in taken.frames.items()}}
        told["images"] = sorted(images)
        tries("too much", lambda: bytearray(800_000_000))
        tries("little", lambda: bytearray(1_000_000))
        """,
        memory_bytes=700_000_000,
    )
    assert result["missing"] == []
    assert result["flushed"] is True
    assert result["frames"] == {"source": 30, "90p": 30}
    assert result["images"] == ["poster", "storyboard"]
    assert result["too much"] == "MemoryError"
    assert result["little"] == "done"


def test_a_limit_that_can_not_be_had_is_named_with_its_reason() -> None:
    result = inside("""
        sandbox.pyseccomp = None
        other = threading.Event()
        threading.Thread(target=other.wait, daemon=True).start()
        ENTER
    """)
    assert set(result["holds"]) == ALL - {"seccomp", "landlock"}
    missing = dict(entry.split(": ", 1) for entry in result["missing"])
    assert "libseccomp" in missing["seccomp"]
    assert "threads" in missing["landlock"]


def test_a_worker_ends_with_its_node() -> None:
    child = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}]
from hausd.media import sandbox
sandbox.enter(0, 0)
print("in", flush=True)
time.sleep(600)
"""
    parent = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-c", {child!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
os.read(0, 1)
os.kill(os.getpid(), 9)
"""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    os.kill(worker, 0)
    process.stdin.close()
    assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()
    for _ in range(500):
        try:
            state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its node")
