"""Every error has one row in each outward table, and words in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import get_type_hints

import pytest

from cps_auth import errors
from cps_auth.exit_codes import EXIT_CODES
from cps_auth.flask.http_errors import HTTP_STATUSES
from cps_auth.pki.revocation.crl_header import CrlProblem
from cps_auth.wording import LANGUAGES, explain
from pam_helper.daemon.pam_results import PAM_RESULTS
from pam_helper.daemon.protocol import encode_reply
from pam_helper.daemon.replies import COLUMNS, refusal

LEAVES = errors.leaves()

SAMPLES: dict[object, object] = {
    str: "sample",
    StrEnum: CrlProblem.STALE,
    str | None: "sample",
    int | None: 2,
    float: 12.0,
    datetime: datetime(2026, 1, 2, tzinfo=UTC),
    datetime | None: datetime(2026, 1, 2, tzinfo=UTC),
    tuple[str, ...]: ("one", "two"),
}


def sample(leaf: type[errors.CpsAuthError]) -> errors.CpsAuthError:
    """Make one of each kind, with some data."""
    hints = get_type_hints(leaf)
    names = getattr(leaf, "__dataclass_fields__", {})
    return leaf(**{name: SAMPLES[hints[name]] for name in names})


@pytest.mark.parametrize("table", [EXIT_CODES, HTTP_STATUSES, PAM_RESULTS])
def test_a_surface_table_has_every_leaf_and_nothing_else(
    table: Mapping[type[errors.CpsAuthError], object],
) -> None:
    """A new error cannot be forgotten on a surface."""
    assert set(table) == set(LEAVES)


def test_exit_codes_are_unlike_and_never_yes() -> None:
    """Every error has an exit code of its own, outside those that mean something else."""
    assert len(set(EXIT_CODES.values())) == len(LEAVES)
    assert all(10 <= code < 126 for code in EXIT_CODES.values())


def test_no_http_status_means_yes() -> None:
    """An error never looks like a success to a browser."""
    assert all(status >= 400 for status in HTTP_STATUSES.values())


def test_no_pam_result_means_yes_or_ignore() -> None:
    """An error neither opens a session nor leaves the decision to another module."""
    assert not {"PAM_SUCCESS", "PAM_IGNORE"} & set(PAM_RESULTS.values())


def test_error_codes_are_unlike() -> None:
    """Logs and scripts can tell any two errors apart."""
    assert len({leaf.code for leaf in LEAVES}) == len(LEAVES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.code)
def test_every_error_says_what_happened_and_what_to_do(
    leaf: type[errors.CpsAuthError], language: str
) -> None:
    """Both halves are there, and no placeholder is left in them."""
    words = explain(sample(leaf), language)
    assert words.happened.endswith(".")
    assert words.to_do.endswith(".")
    assert "{" not in words.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.code)
def test_every_error_fits_on_a_lock_screen(leaf: type[errors.CpsAuthError], language: str) -> None:
    """No line is cut at the edge of a screen, and none is left out of the reply."""
    told = refusal(sample(leaf), language)
    assert all(len(line) <= COLUMNS for line in told.lines)
    shown = encode_reply(told).decode().splitlines()[1:]
    assert shown == list(told.lines)
    words = explain(sample(leaf), language)
    assert " ".join(shown).startswith(words.happened)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.code)
def test_every_error_is_translated(leaf: type[errors.CpsAuthError]) -> None:
    """French is French."""
    french, english = explain(sample(leaf), "fr"), explain(sample(leaf), "en")
    assert french.happened != english.happened
    assert french.to_do != english.to_do


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.code)
def test_an_error_prints_its_data(leaf: type[errors.CpsAuthError]) -> None:
    """A log line of an error starts with its code and carries what it knows."""
    error = sample(leaf)
    assert str(error).startswith(leaf.code)
    assert all(name in str(error) for name in error.data())


def test_attempts_left_are_said() -> None:
    """A wrong PIN tells how many attempts are left, in the number's own grammar."""
    assert "2 attempts left" in explain(errors.WrongPin(2), "en").text
    assert "1 attempt left" in explain(errors.WrongPin(1), "en").text
    assert "essais" in explain(errors.WrongPin(2), "fr").text
    assert "essai restant" in explain(errors.WrongPin(1), "fr").text
