"""The profile of pam-auth-update(8) as setup switches it, on a PAM folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cps_auth.errors import ConfigurationError
from pam_helper.setup import profile, stack_trial

SHARE = Path(profile.__file__).parents[1] / "share"
TOOL = """#!/bin/sh
# A pam-auth-update that puts the lines of the profiles that are switched on before the password's.
cd {folder}
case "$1" in --enable) shift; printf '%s\\n' "$@" >on ;; --package) shift 2; for name; do
  grep -vx "$name" on >on.new; mv on.new on; done ;; esac
{{ for name in $(cat on); do sed -n 's/^\\t/auth\\t/p' "profiles/$name"; done
  echo 'auth	[success=1 default=ignore]	pam_unix.so'; }} >pam.d/common-auth
"""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PAM folder and the package's profile."""
    for folder in ("pam.d", "profiles"):
        (tmp_path / folder).mkdir()
    (tmp_path / "on").touch()
    (tmp_path / "pam.d/common-auth").write_text("auth\trequired\tpam_unix.so\n")
    (tmp_path / "profiles/cps-auth").write_bytes((SHARE / "pam-configs/cps-auth").read_bytes())
    (tmp_path / "tool").write_text(TOOL.format(folder=tmp_path))
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.setattr(profile, "TOOL", tmp_path / "tool")
    monkeypatch.setattr(profile, "PROFILES", tmp_path / "profiles")
    monkeypatch.setattr(profile, "STACK_FOLDERS", (tmp_path / "pam.d", tmp_path / "none"))
    monkeypatch.setattr(stack_trial, "try_lines", lambda _: None)  # no pam_cps.so here
    return tmp_path


def test_card_or_password(system: Path) -> None:
    """Switched on and off, common-auth has our line, then not."""
    profile.switch_on(())
    assert "pam_cps.so" in (system / "pam.d/common-auth").read_text()
    assert profile.is_required(())
    profile.switch_off()
    assert "pam_cps.so" not in (system / "pam.d/common-auth").read_text()


def test_no_password_counts_in_the_services_that_are_named(system: Path) -> None:
    """The lines end in a denial for exactly those, directly after the card's, until they change."""
    profile.switch_on(("kde", "xsecurelock"))
    lines = (system / "pam.d/common-auth").read_text().splitlines()
    card, jump, deny, password = lines
    assert "pam_cps.so" in card
    assert "[success=1 default=ignore]" in jump
    assert jump.endswith("service notin kde:xsecurelock")
    assert deny.split() == ["auth", "requisite", "pam_deny.so"]
    assert "pam_unix.so" in password
    assert profile.is_required(("kde", "xsecurelock"))
    assert not profile.is_required(("kde",))
    assert not profile.is_required(())
    profile.switch_on(())
    assert "pam_deny.so" not in (system / "pam.d/common-auth").read_text()
    assert not (system / "profiles/cps-auth-required").exists()


@pytest.mark.parametrize("tool", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\n", "#!/nonexistent\n"])
def test_a_tool_that_does_not_do_it_is_told(system: Path, tool: str) -> None:
    """It fails, or leaves common-auth as it is because somebody has changed it by hand."""
    (system / "tool").write_text(tool)
    before = (system / "pam.d/common-auth").read_text()
    with pytest.raises(ConfigurationError):
        profile.switch_on(("kde",))
    assert (system / "pam.d/common-auth").read_text() == before


def test_a_stack_that_is_not_safe_changes_nothing(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial comes first."""

    def refuse(_lines: object) -> None:
        raise ConfigurationError("keeps everybody out")

    monkeypatch.setattr(stack_trial, "try_lines", refuse)
    with pytest.raises(ConfigurationError, match="everybody"):
        profile.switch_on(())
    assert (system / "on").read_text() == ""


def test_services_are_found_not_listed_by_hand(system: Path) -> None:
    """Those that ask in front of this PC, in either folder of PAM; and those that use us."""
    (system / "none").mkdir()
    for place in ("pam.d/login", "none/kde", "pam.d/sshd", "pam.d/cron"):
        (system / place).write_text("@include common-auth\n")
    (system / "pam.d/login").write_text("# pam_cps.so\n@include cps-auth\n")
    assert profile.installed_services() == ("kde", "login")
    assert profile.services_that_use_us() == {"login"}


@pytest.mark.parametrize(
    ("lines", "is_safe"),
    [
        (["[success=end default=ignore] pam_deny.so"], True),
        (["[success=end default=ignore] pam_permit.so"], False),
        (["[success=end default=die] pam_deny.so"], False),
        (["sufficient pam_permit.so"], False),
    ],
)
def test_the_trial_of_a_stack(lines: list[str], is_safe: bool) -> None:
    """By PAM itself: a refusal must leave exactly the decision to the lines that follow."""
    if is_safe:
        stack_trial.try_lines(lines)
    else:
        with pytest.raises(ConfigurationError):
            stack_trial.try_lines(lines)
