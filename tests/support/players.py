"""Media players as test subjects: how each is started and ended, and what it tells of itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_S = 40.0
_MPV_TELLS = "at ${=time-pos} size ${width}x${height} sound ${audio-params/samplerate} late "
_MPV_TELLS += "${frame-drop-count} lost ${decoder-frame-drop-count} av ${=avsync}"


@dataclass
class Player:
    """A player at work. ``ends`` makes it stop, unless it does so by itself."""

    process: subprocess.Popen[str]
    log: Path
    ends: Callable[[subprocess.Popen[str]], object] | None

    def end(self) -> tuple[int, str]:
        """Exit code, and all that it said."""
        if self.ends is not None and self.process.poll() is None:
            self.ends(self.process)
        try:
            code = self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        return code, self.log.read_text(errors="replace").replace("\r", "\n")


def start(
    log: Path,
    command: Sequence[str],
    ends: Callable[[subprocess.Popen[str]], object] | None = None,
    **environ: str,
) -> Player:
    """Starts a player that writes into ``log``."""
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environ},
        )
    return Player(process, log, ends)


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


def type_in(words: str) -> Callable[[subprocess.Popen[str]], None]:
    """Ends a player by what is typed into it."""

    def end(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.write(words)
        process.stdin.flush()

    return end


def mpv(log: Path, url: str, seconds: float, *more: str) -> Player:
    """mpv without its own configuration, screen and loudspeaker; ends after ``seconds``."""
    fixed = ["--no-config", "--vo=null", "--ao=null", f"--length={seconds}", "--msg-level=all=warn"]
    fixed += [f"--term-status-msg={_MPV_TELLS}", "--msg-level=statusline=status"]
    return start(log, ["mpv", *fixed, *more, url])


def vlc(log: Path, url: str) -> Player:
    """VLC without screen and loudspeaker, steered by its text interface."""
    home = log.with_suffix(".home")
    home.mkdir(mode=0o777)
    command = ["vlc", "-I", "oldrc", "--rc-fake-tty", "--no-color", "--vout=dummy"]
    command += ["--aout=dummy", url]
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(home, 65_534)
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    return start(log, command, type_in("info\nstats\nget_time\nquit\n"), HOME=str(home))


def gstreamer(log: Path, url: str, source: str) -> Player:
    """GStreamer reading with ``source`` (``uridecodebin`` or ``uridecodebin3``) in real time."""
    chains = []
    for kind, convert in (("picture", "videoconvert"), ("sound", "audioconvert")):
        chains += ["media.", "!", "queue", "!", convert, "!"]
        chains += ["progressreport", f"name={kind}", "update-freq=1", "!"]
        chains += ["fakesink", f"name={kind}-sink", "sync=true"]
    command = ["gst-launch-1.0", "-v", source, f"uri={url}", "name=media", *chains]
    return start(log, command, interrupt)


def ffplay(log: Path, url: str) -> Player:
    """ffplay with SDL's dummies."""
    command = ["ffplay", "-v", "warning", "-stats", "-autoexit", url]
    environ = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
    return start(log, command, interrupt, **environ)


def found(pattern: str, text: str) -> list[tuple[str, ...]]:
    """All that a pattern's groups match."""
    return [match.groups() for match in re.finditer(pattern, text)]
