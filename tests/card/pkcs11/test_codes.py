"""Changing codes, PIN pads and PSS through a module: SoftHSM2, and SoftHSM2 made to differ."""

from __future__ import annotations

import pytest

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import (
    LastPukAttempt,
    PinEntryCancelled,
    PukBlocked,
    WrongPin,
    WrongPuk,
)
from cps_auth.model import SignatureAlgorithm

pytestmark = pytest.mark.system

OLD, NEW, PUK = b"1234", b"4321", b"12345678"


def test_change_pin(softhsm, challenge) -> None:
    """C_SetPIN: the new PIN alone holds afterwards, and a wrong old one changes nothing."""
    softhsm.add_token("doctor")
    with Pkcs11Cards(softhsm.module).open_card() as card:
        with pytest.raises(WrongPin):
            card.change_pin(bytearray(b"0000"), bytearray(NEW))
        card.change_pin(bytearray(OLD), bytearray(NEW))
        with pytest.raises(WrongPin):
            card.verify_pin_and_sign(bytearray(OLD), challenge)
        assert card.verify_pin_and_sign(bytearray(NEW), challenge).value


def test_unblock(softhsm, challenge) -> None:
    """C_InitPIN after the PUK; a token that says nothing of its attempts needs the word."""
    softhsm.add_token("doctor")
    with Pkcs11Cards(softhsm.module).open_card() as card:
        assert card.puk_attempts_left() is None
        with pytest.raises(LastPukAttempt):
            card.unblock(bytearray(PUK), bytearray(NEW))
        with pytest.raises(WrongPuk):
            card.unblock(bytearray(b"87654321"), bytearray(NEW), last_attempt_allowed=True)
        card.unblock(bytearray(PUK), bytearray(NEW), last_attempt_allowed=True)
        assert card.verify_pin_and_sign(bytearray(NEW), challenge).value


_TOKEN_INFO = """
static word token_info(word slot, unsigned char *info) {{
    word rv = ((word (*)(word, unsigned char *))real->call[GET_TOKEN_INFO])(slot, info);
    *(word *)(info + 96) |= {flag};
    return rv;
}}
"""


def test_locked_puk(compile_shim) -> None:
    """CKF_SO_PIN_LOCKED: the PUK is not presented, whatever the caller says."""
    module = compile_shim(
        _TOKEN_INFO.format(flag="0x400000")
        + "static void override(void) { ours.call[GET_TOKEN_INFO] = token_info; }"
    )
    with Pkcs11Cards(module).open_card() as card:
        assert card.puk_attempts_left() == 0
        with pytest.raises(PukBlocked):
            card.unblock(bytearray(PUK), bytearray(NEW), last_attempt_allowed=True)


_KEYPAD = """
static word login(word session, word user, void *pin, word length) {{
    word (*really)(word, word, void *, word) = real->call[LOGIN];
    if (pin != NULL || length != 0) return 7;  /* CKR_ARGUMENTS_BAD */
    {typed}
}}
static void override(void) {{
    ours.call[GET_TOKEN_INFO] = token_info;
    ours.call[LOGIN] = login;
}}
"""


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ('return really(session, user, "1234", 4);', None),
        ('return really(session, user, "9999", 4);', WrongPin),
        ("return 0x50;  /* CKR_FUNCTION_CANCELED */", PinEntryCancelled),
    ],
)
def test_keypad(compile_shim, challenge, typed, error) -> None:
    """CKF_PROTECTED_AUTHENTICATION_PATH: the PIN is typed on the reader, or is not."""
    module = compile_shim(_TOKEN_INFO.format(flag="0x100") + _KEYPAD.format(typed=typed))
    with Pkcs11Cards(module).open_card() as card:
        assert card.has_pin_pad
        if error is None:
            assert card.verify_pin_and_sign(None, challenge).value
        else:
            with pytest.raises(error):
                card.verify_pin_and_sign(None, challenge)


def test_no_keypad(softhsm, challenge) -> None:
    """Without that flag a PIN must be given."""
    softhsm.add_token("doctor")
    with Pkcs11Cards(softhsm.module).open_card() as card:
        assert not card.has_pin_pad
        with pytest.raises(PinEntryCancelled):
            card.verify_pin_and_sign(None, challenge)


@pytest.mark.parametrize("refusal", ["0x70", "0x63", "0x54"])
def test_pss_where_nothing_else_goes(compile_shim, challenge, refusal) -> None:
    """A key that refuses CKM_RSA_PKCS signs by PSS, with one PIN."""
    module = compile_shim(
        """
        static word sign_init(word session, word *mechanism, word key) {
            word (*really)(word, word *, word) = real->call[42];
            return *mechanism == 1 ? REFUSAL : really(session, mechanism, key);
        }
        static void override(void) { ours.call[42] = sign_init; }
        """.replace("REFUSAL", refusal)
    )
    with Pkcs11Cards(module).open_card() as card:
        certificate_der = card.read_authentication_certificate()
        signature = card.verify_pin_and_sign(bytearray(OLD), challenge)
    assert signature.algorithm is SignatureAlgorithm.PS256
    assert is_signature_of(certificate_der, challenge.message(), signature)
