"""Commands on a computer whose clock is decades off: their own words, nothing spent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cps_auth.errors import CertificateExpired, CertificateNotYetValid
from cps_auth.exit_codes import EXIT_CODES

Command = Callable[..., Any]  # the fixture of conftest.py, which is no module to import

pytestmark = pytest.mark.system

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    int (*really)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = really(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec = atoll(getenv("WRONG_CLOCK"));
    return result;
}
"""
"""A clock that stands still, for programs that are started with this library."""

BEHIND = (datetime(1969, 12, 31, 23, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC))
AHEAD = (datetime(2038, 1, 19, 4, tzinfo=UTC), datetime(2106, 2, 7, 7, tzinfo=UTC))
each_clock = pytest.mark.parametrize("at", BEHIND + AHEAD, ids=lambda at: str(at.year))


@pytest.fixture(scope="session")
def clock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, compiled once."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    command = ["gcc", "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return folder / "clock.so"


@pytest.fixture
def run(command: Command, igc_dir: Path, clock_library: Path, attempts_left: Path) -> Command:
    """Run a command at a time."""

    def run_at(at: datetime, *words: str) -> Any:
        clock = {"LD_PRELOAD": str(clock_library), "WRONG_CLOCK": str(int(at.timestamp()))}
        done = command(*words, "--trust", str(igc_dir), environment=clock, stdin=b"1234\n")
        assert b"Traceback" not in done.stderr
        assert attempts_left.read_text() == "3"
        return done

    return run_at


@each_clock
@pytest.mark.parametrize("words", [("show",), ("login", "--pin-stdin")], ids=" ".join)
def test_nobody_is_let_in(run: Command, at: datetime, words: tuple[str, ...]) -> None:
    """The certificate is not valid yet, or no more; before its time the clock is spoken of."""
    error = CertificateNotYetValid if at in BEHIND else CertificateExpired
    done = run(at, *words, "--json")
    assert done.returncode == EXIT_CODES[error]
    answer = json.loads(done.stdout)
    assert answer["error"] == error.code
    assert ("date and time" in answer["message"]) is (at in BEHIND)


@each_clock
def test_looking_works(run: Command, at: datetime) -> None:
    """Readers and authorities are listed; an authority is valid within its dates only."""
    assert run(at, "readers", "--json").returncode == 0
    listed = run(at, "trust", "list", "--json")
    assert listed.returncode == 0
    is_valid = {authority["is_valid"] for authority in json.loads(listed.stdout)["authorities"]}
    assert is_valid == {at.year == 2038}


@each_clock
def test_doctor_names_the_lists(run: Command, at: datetime) -> None:
    """A clock behind is called so; lists cannot be told from old ones by a clock ahead."""
    done = run(at, "doctor", "--json")
    assert done.returncode != 0
    links = {link["link"]: link for link in json.loads(done.stdout)["findings"]}
    assert links["lists"]["ok"] is False
    assert ("clock" in links["lists"]["text"]) is (at in BEHIND)
