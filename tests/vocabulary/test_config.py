"""The settings file: strict, protected, and absent means defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from cps_auth.config import Settings, read_settings
from cps_auth.errors import ConfigurationError
from cps_auth.wording import explain


def _write(folder: Path, content: str, mode: int = 0o600) -> Path:
    path = folder / "config.toml"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_no_file_means_defaults(tmp_path: Path) -> None:
    """A PC without a settings file runs with production trust and the native driver."""
    settings = read_settings(tmp_path / "absent.toml")
    assert settings == Settings()
    assert settings.trust.folder is None


def test_every_setting_is_read(tmp_path: Path) -> None:
    """What is written is what is used."""
    path = _write(
        tmp_path,
        'language = "en"\n[trust]\nfolder = "/etc/cps-auth/lab"\ngrace_hours = 12.5\nocsp = true\n'
        '[card]\nreader = "A"\n'
        '[lock]\nlockers = ["logind", "command"]\ncommand = ["/usr/bin/xsecurelock"]\n',
    )
    settings = read_settings(path)
    assert (settings.language, settings.trust.folder) == ("en", "/etc/cps-auth/lab")
    assert settings.trust.path == Path("/etc/cps-auth/lab")
    assert (settings.trust.grace_hours, settings.trust.ocsp) == (12.5, True)
    assert settings.card.reader == "A"
    assert settings.lock.command == ("/usr/bin/xsecurelock",)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("trust = 3", "$.trust"),
        ("[trust]\ngrace_hours = -1", "grace_hours"),
        ("[trust]\ngrace_hours = 745", "grace_hours"),
        ("[trust]\ngrace_hours = inf", "grace_hours"),
        ("[trust]\ngrace_hours = nan", "grace_hours"),
        ("[trust]\nrevocation = 'off'", "revocation"),
        ("[card]\nmock = true", "mock"),
        ("[lock]\nlockers = ['nothing']", "lockers"),
        ("[lock]\nlockers = ['command']", "lock.command"),
        ("[lock]\nconfirm_within_s = 0", "confirm_within_s"),
        ("[lock]\nconfirm_within_s = 1e9", "confirm_within_s"),
        ("[lock]\nlockers = []", "lockers"),
        ("not toml at all", "config.toml"),
        ("language = 'de'", "language"),
        ("\x00", "config.toml"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, content: str, names: str) -> None:
    """Nothing is ignored, and the message says which setting is meant."""
    with pytest.raises(ConfigurationError) as caught:
        read_settings(_write(tmp_path, content))
    assert names in caught.value.what


@pytest.mark.parametrize(
    ("content", "line", "cause"),
    [
        ("# a comment\n[trust]\nfolder = '/lab'\n\nrevocation = 'off'", 5, "unknown-setting"),
        ("\n\nlock_screen = true\n[card]", 3, "unknown-setting"),
        ("[card]\nreader = 'A'\n[pam]\n[future]\nx = 1", 4, "unknown-setting"),
        ("[trust]\n[lock]\n  lockers = [\n 'logind',\n 'none']", 3, "wrong-setting"),
        ("lock.on_idle = 'yes'", 1, "wrong-setting"),
        ("[card]\nreader = A\n[lock]", 2, "not-toml"),
        ("[card]\n[card]", 2, "not-toml"),
        ("[card]\nreader =\nmodule = 'x'", 2, "not-toml"),
        ("[pam]\nothers = [", 2, "not-toml"),
    ],
)
def test_a_refusal_names_file_line_and_cure(
    tmp_path: Path, content: str, line: int, cause: str
) -> None:
    """A file of another version, a slip of the pen: where, and what to do, in both languages."""
    path = _write(tmp_path, content)
    with pytest.raises(ConfigurationError) as caught:
        read_settings(path)
    assert caught.value.what.startswith(f"{path}:{line}: ")
    assert caught.value.cause == cause
    french, english = (explain(caught.value, language) for language in ("fr", "en"))
    assert "#" in french.to_do
    assert french.to_do != english.to_do


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_could_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Trust is not decided by a file that anybody could have changed."""
    with pytest.raises(ConfigurationError, match="writable") as caught:
        read_settings(_write(tmp_path, "", mode))
    assert "chmod go-w" in explain(caught.value, "fr").to_do


def test_a_folder_a_giant_and_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    """Whatever lies at the path, the answer is our own error."""
    with pytest.raises(ConfigurationError):
        read_settings(tmp_path)
    with pytest.raises(ConfigurationError, match="longer"):
        read_settings(_write(tmp_path, "#" * 70_000))
    path = tmp_path / "config.toml"
    path.write_bytes(b"\n\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"config\.toml:2: ") as caught:
        read_settings(path)
    assert caught.value.cause == "not-text"
