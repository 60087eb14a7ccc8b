"""Settings are changed where they stand; whatever else is in the file stays as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cps_auth.config import Settings, read_settings
from cps_auth.errors import ConfigurationError
from pam_helper.setup.settings_file import change_settings

ALL = {
    ("", "language"): "en",
    ("trust", "folder"): "/opt/igc",
    ("trust", "grace_hours"): 72.0,
    ("pam", "card_required"): ("kde", "gdm-password"),
}
NONE = dict.fromkeys(ALL)


def _assert_holds_all(settings: Settings) -> None:
    assert settings.language == "en"
    assert (settings.trust.folder, settings.trust.grace_hours) == ("/opt/igc", 72)
    assert settings.pam.card_required == ("kde", "gdm-password")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The place of a settings file that is not there yet."""
    return tmp_path / "config.toml"


def test_a_file_that_is_absent_is_made(path: Path) -> None:
    """It says where all settings are told, and everybody may read it, whatever the umask."""
    change_settings(path, ALL)
    _assert_holds_all(read_settings(path))
    assert path.read_text().startswith("# ")
    assert path.stat().st_mode & 0o777 == 0o644
    change_settings(path, NONE)
    assert read_settings(path) == Settings()


@pytest.mark.parametrize(
    "before",
    [
        "",
        '# [trust]\n# folder = "x"\n',
        "[trust]  # ours\nocsp = true\n",
        "[ trust ]\nfolder = '/old'\n[card]\nreader = \"folder = no\"\n",
        'language = "fr"\n\n[pam]\ncard_required = ["login"]\n[trust]\n',
        "[lock]\non_idle = false",
        '# ours\nlanguage = "fr"\n',
    ],
)
def test_what_else_stands_there_stays(path: Path, before: str) -> None:
    """Comments and other settings are kept, with the new ones and after these are taken out."""
    path.write_text(before)
    kept = read_settings(path)
    change_settings(path, ALL)
    _assert_holds_all(read_settings(path))
    once = path.read_text()
    for line in before.splitlines():
        if not line.startswith(("folder", "language", "card_required")):
            assert line in once
    change_settings(path, ALL)
    assert path.read_text() == once
    change_settings(path, NONE)
    left = read_settings(path)
    assert (left.card, left.lock, left.trust.ocsp) == (kept.card, kept.lock, kept.trust.ocsp)
    assert left.pam.card_required == ()


@pytest.mark.parametrize(
    "before",
    [
        'trust = { folder = "x" }\n',
        'trust.folder = "x"\n',
        '[pam]\ncard_required = [\n  "login",\n]\n',
        "[trust",
        '"language" = "fr"\n',
    ],
)
def test_what_is_too_unusual_is_left_alone(path: Path, before: str) -> None:
    """A file that cannot be changed line by line is told, not written over."""
    path.write_text(before)
    with pytest.raises(ConfigurationError):
        change_settings(path, ALL)
    assert path.read_text() == before


def test_a_file_that_others_could_write_is_not_changed(path: Path) -> None:
    """Whoever could write it could have chosen whom this computer trusts."""
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(ConfigurationError):
        change_settings(path, ALL)


@given(value=st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_value_is_one_string(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    """No name writes other lines into the file: it is that string, or nothing is changed."""
    path = tmp_path_factory.mktemp("settings") / "config.toml"
    try:
        change_settings(path, {("card", "reader"): value})
    except ConfigurationError:
        assert not path.exists()
    else:
        assert read_settings(path).card.reader == value
