"""The interface of a contender on the side of the benchmark: the command of its worker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.scenario import Variant

WorkerCommand = Callable[[Variant], list[str]]


def script(name: str) -> str:
    """Return the path of a console script beside the running Python."""
    return str(Path(sys.executable).with_name(name))
