"""Keys that want the PIN for each signature: CKA_ALWAYS_AUTHENTICATE (PKCS#11 v2.40, 4.9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import CardMisbehaved, CpsAuthError, WrongPin
from cps_auth.model import Challenge
from tests.card.pkcs11.conftest import CompileModule, SoftHsm

pytestmark = pytest.mark.system

MODULE = """
typedef struct {{ word type; void *value; word length; }} attribute;
static word is_waiting, was_shown;
static void note(word user) {{
    int fd = open("{log}", O_CREAT | O_APPEND | O_WRONLY, 0600);
    dprintf(fd, "%d", (int)user);
    close(fd);
}}
static word login(word session, word user, void *pin, word length) {{
    note(user);
    word (*really)(word, word, void *, word) = real->call[LOGIN];
    if (user != 2) return really(session, user, pin, length);
    if (!is_waiting) return 0x91;  /* CKR_OPERATION_NOT_INITIALIZED */
    was_shown = length == 4 && !memcmp(pin, "1234", 4);
    return {answer} ? {answer} : was_shown ? 0 : 0xA0;
}}
static word sign_init(word session, void *mechanism, word key) {{
    word rv = ((word (*)(word, void *, word))real->call[SIGN - 1])(session, mechanism, key);
    is_waiting = rv == 0, was_shown = 0;
    return rv;
}}
static word sign(word session, void *data, word length, void *out, word *out_length) {{
    if (!was_shown) return 0x101;  /* CKR_USER_NOT_LOGGED_IN */
    is_waiting = 0;
    word (*really)(word, void *, word, void *, word *) = real->call[SIGN];
    return really(session, data, length, out, out_length);
}}
static word read_attributes(word session, word object, attribute *wanted, word count) {{
    word (*really)(word, word, attribute *, word) = real->call[GET_ATTRIBUTE_VALUE];
    word rv = really(session, object, wanted, count);
    for (word i = 0; i < count; i++)
        if (wanted[i].type == 0x202 && wanted[i].value) *(unsigned char *)wanted[i].value = 1;
    return rv;
}}
static void override(void) {{
    ours.call[LOGIN] = login;
    ours.call[SIGN - 1] = sign_init;
    ours.call[SIGN] = sign;
    ours.call[GET_ATTRIBUTE_VALUE] = read_attributes;
}}
"""
"""SoftHSM2, whose keys say so; it writes down whom each C_Login was for: 1 user, 2 context."""


def _log_in(module: Path, challenge: Challenge, pin: bytes = b"1234") -> None:
    with Pkcs11Cards(module, sign_deadline_s=5).open_card() as card:
        der = card.read_authentication_certificate()
        signature = card.verify_pin_and_sign(bytearray(pin), challenge)
    assert is_signature_of(der, challenge.message(), signature)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file of the logins."""
    return tmp_path / "logins"


def test_the_pin_is_shown_once_more(
    compile_shim: CompileModule, log: Path, challenge: Challenge
) -> None:
    """For the signature alone, after C_Login found it right."""
    _log_in(compile_shim(MODULE.format(log=log, answer=0)), challenge)
    assert log.read_text() == "12"


def test_a_wrong_pin_is_shown_once(
    compile_shim: CompileModule, log: Path, challenge: Challenge
) -> None:
    """C_Login found it wrong: that was its only attempt."""
    module = compile_shim(MODULE.format(log=log, answer=0))
    with pytest.raises(WrongPin):
        _log_in(module, challenge, b"9999")
    assert log.read_text() == "1"
    _log_in(module, challenge)


@pytest.mark.parametrize("answer", ["0xA0", "0xA4", "0x100", "0x5", "0x30"])
def test_a_second_time_that_fails_is_no_third(
    compile_shim: CompileModule, log: Path, challenge: Challenge, answer: str
) -> None:
    """Whatever a module says to it: incorrect, locked, logged in already, or any other error."""
    with pytest.raises(CpsAuthError) as refused:
        _log_in(compile_shim(MODULE.format(log=log, answer=answer)), challenge)
    assert log.read_text() == "12"
    if answer not in ("0xA0", "0xA4"):
        assert isinstance(refused.value, CardMisbehaved), refused.value


def test_softhsm_enforces_it_too(softhsm: SoftHsm, challenge: Challenge) -> None:
    """Its own implementation, with the attribute set on the key."""
    softhsm.add_token("doctor", always_authenticate=True)
    _log_in(softhsm.module, challenge)
    with pytest.raises(WrongPin):
        _log_in(softhsm.module, challenge, b"9999")
