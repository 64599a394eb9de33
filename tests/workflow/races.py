"""What several threads do at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections


def at_once(*acts: Callable[[], object]) -> list[Any]:
    """Do all of these, each in a thread with connections of its own. Return what they return, or raise."""

    def do(act: Callable[[], object]) -> object:
        try:
            return act()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(do, acts))
