"""Run something with the servers.

python -m tests.services run [arguments of pytest]     what script/test does: in parallel when there is much to run
python -m tests.services                               start them, print their variables, stay until Ctrl-C

--only redis7,postgres in front of the rest starts these only.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import deque
from types import FrameType

from tests.services.family import BUILDERS, Family, family
from tests.services.parallel import side_by_side
from tests.services.process import die_with_parent

ALWAYS_UNTESTED = {"MySQL": "the tests run on MariaDB; MySQL itself has not been tried"}


def main(arguments: list[str]) -> int:
    """Dispatch the command line; INT, TERM and HUP end a run in the same way, with everything stopped."""
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell lets its background jobs ignore SIGINT
        signal.signal(sig, interrupt)
    names = list(BUILDERS)
    if arguments[:1] == ["--only"]:
        names = [name for name in arguments[1].split(",") if name]
        arguments = arguments[2:]
    try:
        with family(names) as servers:
            if arguments[:1] == ["run"]:
                return run_pytest(servers, arguments[1:])
            return stay(servers)
    except KeyboardInterrupt:
        return 130


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run_pytest(servers: Family, arguments: list[str]) -> int:
    """Run pytest with the addresses in its environment; its closing line is said again below the last output."""
    announce(servers)
    environment = os.environ | servers.environment
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    command = [sys.executable, "-m", "pytest", *colour, *side_by_side(arguments), *arguments]
    tail: deque[str] = deque(maxlen=1)
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        preexec_fn=lambda: die_with_parent(signal.SIGINT),  # noqa: PLW1509 - no thread runs any more
    ) as pytest:
        assert pytest.stdout is not None
        try:
            for line in pytest.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                if line.strip():
                    tail.append(line)
        except KeyboardInterrupt:
            stop_pytest(pytest)
            raise
    report(servers, closing_line="".join(tail))
    return pytest.returncode


def stop_pytest(pytest: subprocess.Popen[str]) -> None:
    """Give pytest the time to tear down what its tests have started."""
    pytest.send_signal(signal.SIGINT)
    try:
        pytest.wait(20)
    except subprocess.TimeoutExpired:
        pytest.kill()


def announce(servers: Family) -> None:
    started = ", ".join(f"{name} on port {server.port}" for name, server in servers.servers.items())
    print(f"servers: {started or 'none'}", flush=True)


def report(servers: Family, closing_line: str) -> None:
    untested = servers.missing | ALWAYS_UNTESTED
    print()
    print("=" * 78)
    print(re.sub(r"\x1b\[[0-9;]*m", "", closing_line).strip() or "pytest ended before its closing line; see above")
    for name, reason in untested.items():
        print(f"!!! NOT TESTED: {name}: {reason}")
    print("=" * 78, flush=True)


def stay(servers: Family) -> int:
    for variable, value in servers.environment.items():
        print(f"export {variable}='{value}'")
    for name, reason in servers.missing.items():
        print(f"# {name} is missing: {reason}")
    print("# running until Ctrl-C", flush=True)
    signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
