"""The daemon with a vendor's module (the `module` setting): SoftHSM2 as it comes from Debian."""

from __future__ import annotations

import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cps_auth.config import CardSettings, Settings
from cps_auth.errors import WrongPin
from cps_auth.pki.judge import Judge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from pam_helper.accounts.one_time_codes import OneTimeCodes
from pam_helper.daemon.authority import Asker, Authority
from pam_helper.daemon.protocol import Peer, Request
from pam_helper.daemon.run import cards_of
from pam_helper.locking.lockers import Locking, LogindSessions
from pam_helper.locking.session_owners import SessionOwners
from pam_helper.locking.sessions import BoundSessions

pytestmark = pytest.mark.system

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


class _NobodyLoggedIn:
    def sessions(self, _account: str) -> LogindSessions:
        return frozenset()

    def hinted(self, sessions: LogindSessions) -> LogindSessions:
        return sessions

    def unlock(self, _sessions: LogindSessions) -> None:
        pass

    def terminate(self, sessions: LogindSessions) -> LogindSessions:
        return sessions


@pytest.fixture
def token(tmp_path: Path, igc: FakeIgcSante, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SoftHSM2 token with the doctor's authentication key and certificate."""
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    credentials = igc.credentials("doctor")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.der"
    key.write_bytes(
        credentials.authentication_key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    certificate.write_bytes(credentials.authentication_certificate_der)
    label = ("--token", "CPS", "--label", "key", "--id", "01", "--pin", "1234")
    for command in (
        [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            "CPS",
            "--pin",
            "1234",
            "--so-pin",
            "12345678",
        ],
        ["softhsm2-util", "--import", str(key), *label],
        f"pkcs11-tool --module {MODULE} --token-label CPS --login --pin 1234 --type cert"
        " --id 01"
        f" --write-object {certificate}".split(),
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.fixture
def authority(tmp_path: Path, judge: Judge) -> Authority:
    """The daemon's authority, with the module of the settings."""
    (tmp_path / "accounts.toml").write_text(
        f'[[holder]]\nps_idnat = "{PERSONAS["doctor"].ps_idnat}"\naccounts = ["root"]\n'
    )
    sessions = BoundSessions(
        Locking(_NobodyLoggedIn(), ()), SessionOwners(tmp_path / "sessions.json")
    )
    return Authority(
        cards_of(Settings(card=CardSettings(module=MODULE))),
        None,
        lambda: judge,
        tmp_path / "accounts.toml",
        sessions,
        OneTimeCodes(tmp_path / "codes.json"),
        lambda: datetime.now(UTC),
    )


@pytest.mark.usefixtures("token")
def test_a_healthy_token_that_does_not_count_can_be_used(authority: Authority) -> None:
    """PKCS#11 tells no number of attempts; that is not the last attempt, and the PIN logs in."""
    asker = Asker(Peer(1, 0))
    question = authority.decide(Request("ask", "root", "login"), bytearray(), asker)
    assert question.attempts_left is None
    request = Request("verify", "root", "login")
    with pytest.raises(WrongPin):
        authority.decide(request, bytearray(b"9999"), asker)
    assert authority.decide(request, bytearray(b"1234"), asker).is_yes
    assert asker.holder is not None
    assert asker.holder.practitioner.ps_idnat == PERSONAS["doctor"].ps_idnat
    assert threading.active_count() < 20
