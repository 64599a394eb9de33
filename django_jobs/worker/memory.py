"""How much memory this process uses."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PAGE_KIB = resource.getpagesize() // 1024


def resident_kib() -> int:
    """Return the resident memory of this process, in KiB; where /proc is missing, the most it ever had."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_KIB
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak
