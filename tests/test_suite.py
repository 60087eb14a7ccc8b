"""`./dev test`: whatever goes wrong in a part is in the total line and in the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.suite import Count, count_of, run_suite

MIXED = """
import pytest

@pytest.fixture
def broken():
    raise ValueError

def test_good(): pass
def test_bad(): assert False
def test_without_its_fixture(broken): pass
@pytest.mark.skip(reason="no reason")
def test_skipped(): pass
"""


@pytest.mark.parametrize(
    ("source", "exit_code", "last_line"),
    [
        (MIXED, 1, "1 passed, 2 failed, 1 skipped"),
        ("def test_good(): pass", 0, "1 passed, 0 failed, 0 skipped"),
        ("import nothing_of_this_name", 1, "0 passed, 1 failed, 0 skipped"),
        ("", 1, "0 passed, 0 failed, 0 skipped"),
    ],
    ids=["each-outcome", "all-good", "cannot-be-imported", "nothing-ran"],
)
def test_the_last_line_counts_everything(
    source: str,
    exit_code: int,
    last_line: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One closing line, alone on its line; 0 only if something passed and nothing failed."""
    (tmp_path / "test_example.py").write_text(source)
    assert run_suite([str(tmp_path)], workers=()) == exit_code
    assert capfd.readouterr().out.splitlines()[-1] == last_line


def test_a_part_that_never_came_to_its_end_has_failed(tmp_path: Path) -> None:
    """A pytest that was killed leaves no report, or one that says nothing of its end."""
    report = tmp_path / "report.xml"
    assert count_of(report, -9) == Count(failed=1)
    report.write_text("<testsuites><testsuite")
    assert count_of(report, 0) == Count(failed=1)
    report.write_text(
        '<testsuites><testsuite tests="3" failures="0" errors="0" skipped="1"/></testsuites>'
    )
    assert count_of(report, 0) == Count(2, 0, 1)
    assert count_of(report, 3) == Count(2, 1, 1)
