"""Mistakes in the command line, in words: what was wrong, and which command's help to read."""

from __future__ import annotations

from typing import Any

_JARGON = (
    ("Value error, ", ""),
    ("Input should be a valid integer, unable to parse string as an integer", "not a whole number"),
    ("Input should be a valid number, unable to parse string as a number", "not a number"),
    ("Input should be greater than or equal to ", "at least "),
    ("Input should be less than or equal to ", "at most "),
    ("Choose from:\n\t", "choose from "),
    (",\n\t", ", "),
    ("Got unexpected extra argument(s)", "Not understood"),
)
"""What the libraries that read the command line say, and what is said instead."""


def in_words(error: Any, program: str) -> tuple[str, str]:
    """The message and the hint for one of typer's usage errors."""
    message = str(error.format_message())
    for said, meant in _JARGON:
        message = message.replace(said, meant)
    context = getattr(error, "ctx", None)
    if context is None:
        return message, f"see {program} --help"
    commands = getattr(context.command, "commands", None)
    if commands and message == "Missing command.":
        message = f"Missing command. Choose from {', '.join(commands)}"
    return message, f"see {context.command_path} --help"
