"""hausctl knows every field of the node's answers that is a time: each is shown as one."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

from hausctl.client import shaped
from hausd.core import chain_shapes, shapes

TIMES = {
    name
    for shape in (*vars(shapes).values(), *vars(chain_shapes).values())
    if isinstance(shape, type) and issubclass(shape, shapes.Shape)
    for name, field in shape.model_fields.items()
    if datetime in (field.annotation, *get_args(field.annotation))
}


def test_all_times_are_read_as_times() -> None:
    assert {"created", "heard", "told", "until"} <= TIMES
    found = shaped(dict.fromkeys(TIMES, "2026-11-26T18:00:00Z"))
    wrong = [name for name in TIMES if not isinstance(getattr(found, name), datetime)]
    assert wrong == []
