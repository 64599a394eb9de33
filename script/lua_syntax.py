"""Compile every Lua script of the Redis broker with Lua 5.1, the version that Redis runs."""

import sys
from pathlib import Path

from lupa.lua51 import LuaRuntime, LuaSyntaxError

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    lua = LuaRuntime()
    scripts = sorted((ROOT / "django_jobs").rglob("*.lua"))
    failures = 0
    for path in scripts:
        try:
            lua.compile(path.read_bytes().decode())
        except LuaSyntaxError as error:
            failures += 1
            print(f"{path.relative_to(ROOT)}: {error}")
    print(f"{len(scripts)} scripts compiled, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
