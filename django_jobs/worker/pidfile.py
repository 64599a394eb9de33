"""The file in which a service manager finds the worker's process id."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class PidFile:
    """Holds the id of this process from ``write`` to ``remove``."""

    def __init__(self, path: Path) -> None:
        # A job may change the working directory.
        self._path = path.absolute()
        self._written = ""

    def write(self) -> None:
        """Write the id, over that of an earlier process. Raises OSError."""
        self._written = f"{os.getpid()}\n"  # first: a signal may end the process right after the file is there
        self._path.write_text(self._written, encoding="ascii")

    def remove(self) -> None:
        """Delete the file, unless it was never written, is gone, or has become another process's."""
        with suppress(OSError):
            if self._written and self._path.read_text(encoding="ascii") == self._written:
                self._path.unlink()
