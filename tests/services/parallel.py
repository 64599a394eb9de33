"""Whether pytest runs in several processes when nobody has said so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

#: Tests wait more than they compute: three processes keep two cores busy.
PROCESSES = 3
#: Whoever gives one of these has decided, or wants to look at one process.
SHORT = ("-n", "-p", "-s", "-h", "-V")
LONG = {
    "--numprocesses", "--dist", "--capture", "--pdb", "--trace", "--collect-only", "--co", "--stepwise", "--sw",
    "--fixtures", "--markers", "--help", "--version",
}  # fmt: skip


def side_by_side(arguments: Sequence[str]) -> list[str]:
    """Return what makes pytest run these arguments in several processes; nothing where it is to run in one."""
    if any(word.startswith(SHORT) or word.partition("=")[0] in LONG for word in arguments):
        return []
    asked = {path for path in (Path(word.partition("::")[0]) for word in arguments) if path.exists()}
    if len(asked) == 1 and all(path.is_file() for path in asked):
        return []
    # A process that has nothing left takes over from another: a few tests take as long as a hundred others.
    return [f"--numprocesses={PROCESSES}", "--dist=worksteal"]
