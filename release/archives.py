"""Builds the archives of a release from a source folder, the same way each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUMS = "SHA256SUMS"


def build(source: Path, out: Path, *, epoch_s: int, with_deb: bool) -> None:
    """Build sdists, wheels, the SBOM, and the Debian package of this Debian.

    Args:
        source: a folder with the sources as they are released, and nothing else.
        out: an empty folder for the archives.
        epoch_s: the time that they bear, in seconds of the epoch (SOURCE_DATE_EPOCH).
        with_deb: build the Debian package, too; takes minutes and debhelper.

    Raises:
        subprocess.CalledProcessError: a tool failed; what it said is on standard error.
    """
    for file in source.rglob("*"):
        if not file.is_symlink():
            os.utime(file, (epoch_s, epoch_s))
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(epoch_s),
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }

    def run(*words: str | Path) -> None:
        subprocess.run(words, check=True, cwd=source, env=environment, stdout=sys.stderr)

    for project in (".", "hardware_mocks"):
        run(sys.executable, "-m", "build", "-q", "--no-isolation", "-o", out, project)
    version = next(out.glob("cps_auth-*.tar.gz")).name.removesuffix(".tar.gz").split("-")[1]
    run(
        Path(sys.prefix) / "bin" / "cyclonedx-py",
        "requirements",
        "requirements/package.txt",
        "--pyproject=pyproject.toml",
        "--output-reproducible",
        f"--output-file={out / f'cps-auth-{version}.cdx.json'}",
    )
    if with_deb:
        run("packaging/build", out)


def sums(folder: Path) -> str:
    """Return the lines of SHA256SUMS for every file of a folder, as sha256sum writes them."""
    return "".join(f"{digest}  {name}\n" for name, digest in _digests(folder))


def differences(one: Path, other: Path) -> list[str]:
    """Return the names of archives that two builds do not have in common, byte for byte."""
    return sorted({name for name, _ in set(_digests(one)) ^ set(_digests(other))})


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.iterdir()):
        if path.name != SUMS:
            yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()
