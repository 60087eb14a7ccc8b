"""`./dev test [pytest arguments]`: the suite in parts, and one line that counts all of them.

The fast tests come first, in four processes. Then every file of `tests/system` has a process of its
own, since libpcsclite keeps state in a process whose pcscd was killed; they mostly wait for other
programs, so three run at once. What was asked for by file, or by anything else than a folder, is
handed to pytest as it is: a single file needs no more than one process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

SYSTEM = Path("tests/system")
AT_ONCE = 3
WORKERS = ("-n", "4", "--dist", "worksteal")
LONGEST_FIRST = (
    "test_pam_cps.py",
    "test_stack.py",
    "test_install_debian.py",
    "test_pcsc_promises.py",
    "test_mtls_proxies.py",
    "test_screens.py",
)
"""Files that take minutes: begun last, they would be waited for alone."""
NO_TESTS_FOUND = 5
"""Exit code of pytest when a file holds no test; what fails is counted by its report."""


@dataclass(frozen=True, slots=True)
class Count:
    """What came out of some tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def count_of(report: Path, exit_code: int) -> Count:
    """Read pytest's report of one part.

    Args:
        report: what `--junit-xml` wrote, or nothing if pytest never came to its end.
        exit_code: of pytest.

    Returns:
        Its counts; errors are failures, and so is a part that ended badly without one.
    """
    try:
        root = ElementTree.parse(report).getroot()  # noqa: S314  # our own pytest wrote it
        numbers = [dict(suite.items()) for suite in root.iter("testsuite")]
    except (OSError, ElementTree.ParseError):
        return Count(failed=1)
    total, bad, skipped = (
        sum(int(part[key]) for part in numbers for key in keys)
        for keys in (("tests",), ("failures", "errors"), ("skipped",))
    )
    if exit_code not in (0, NO_TESTS_FOUND) and bad == 0:
        bad, total = 1, total + 1
    return Count(max(0, total - bad - skipped), bad, skipped)


def run_fast(folders: Sequence[str], reports: Path, workers: Sequence[str]) -> Count:
    """Run what needs no other program, heard while it runs."""
    report = reports / "fast.xml"
    ended = subprocess.run(
        [*_pytest(report), *workers, f"--ignore={SYSTEM}", *folders], check=False
    )
    return count_of(report, ended.returncode)


def run_file(file: Path, reports: Path) -> tuple[Path, Count, str, float]:
    """Run one file in a process of its own.

    Returns:
        The file, its counts, what pytest said, and the seconds that it took.
    """
    report = reports / f"{'-'.join(file.with_suffix('').parts)}.xml"
    started_s = time.monotonic()
    ended = subprocess.run(
        [*_pytest(report), file], check=False, text=True, capture_output=True, errors="replace"
    )
    seconds = time.monotonic() - started_s
    return file, count_of(report, ended.returncode), ended.stdout + ended.stderr, seconds


def run_system(files: Iterable[Path], reports: Path) -> Count:
    """Run each file by itself, several at once; each is heard when it is done, by its name."""
    total = Count()
    ordered = sorted(files, key=lambda file: (file.name not in LONGEST_FIRST, file))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(run_file, file, reports) for file in ordered]
        for number, done in enumerate(as_completed(running), 1):
            file, count, said, seconds = done.result()
            total += count
            print(f"[{number}/{len(ordered)}] {file}: {count} ({seconds:.0f} s)", flush=True)
            if count.failed:
                print(said, flush=True)
            for line in said.splitlines():
                if line.startswith("SKIPPED"):
                    print(f"    {line}", flush=True)
    return total


def _pytest(report: Path) -> list[str]:
    return [sys.executable, "-m", "pytest", f"--junit-xml={report}"]


def run_suite(folders: Sequence[str], workers: Sequence[str] = WORKERS) -> int:
    """Run the tests of some folders, all of them if none is named.

    Args:
        folders: from the project's root.
        workers: how pytest is told to run the fast ones.

    Returns:
        The exit code: 0 only if nothing failed and something passed.
    """
    places = [Path(folder) for folder in folders or ["tests"]]
    files = {
        file for place in places for file in place.rglob("test_*.py") if file.is_relative_to(SYSTEM)
    }
    total = Count()
    with tempfile.TemporaryDirectory(prefix="reports-") as reports:
        if any(not place.is_relative_to(SYSTEM) for place in places):
            total += run_fast([str(place) for place in places], Path(reports), workers)
        total += run_system(files, Path(reports))
    print(total, flush=True)
    return 0 if total.passed and not total.failed else 1


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; see the module."""
    if all(Path(word).is_dir() for word in arguments):
        return run_suite([os.path.relpath(word) for word in arguments])
    files = [word for word in arguments if Path(word.split("::")[0]).is_file()]
    workers = () if len(files) == 1 else WORKERS
    return subprocess.run(
        [sys.executable, "-m", "pytest", *workers, *arguments], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
