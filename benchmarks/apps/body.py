"""The bodies of the jobs, the same for every contender."""

from __future__ import annotations

import asyncio
import time

from benchmarks.scenario import Scenario
from benchmarks.stamps import StampWriter

NAP_SECONDS = 0.010

_stamps = StampWriter(Scenario.from_environment().stamps_path)


def noop(index: int) -> int:
    """Leave a stamp and return: all the rest of its time is the system around it."""
    _stamps.write(index)
    return index


def nap(index: int) -> int:
    """Wait like a job that talks to a slow service."""
    time.sleep(NAP_SECONDS)
    _stamps.write(index)
    return index


async def async_nap(index: int) -> int:
    await asyncio.sleep(NAP_SECONDS)
    _stamps.write(index)
    return index
