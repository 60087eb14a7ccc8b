"""VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER (ISO/IEC 7816-4:2013 section 11.5)."""

from __future__ import annotations

import hmac

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.command import Command
from hardware_mocks.card.content.contents import PinObject
from hardware_mocks.card.session import USER_PIN_REFERENCE, Session

_PUK_REFERENCE = 2
_OLD_AND_NEW = 0x00  # P1 of CHANGE REFERENCE DATA
_WITH_NEW_PIN = 0x02  # P1 of RESET RETRY COUNTER


def verify(session: Session, command: Command) -> bytes:
    """Compare with the PIN or PUK; without data, say its state and spend nothing."""
    if command.p1 != 0:
        raise sw.Refusal(sw.WRONG_P1P2)
    pin = _pin(session, command.p2)
    if not command.data:
        return _say_state(session, pin)
    _present(session, pin, command.data)
    return b""


def _say_state(session: Session, pin: PinObject) -> bytes:
    if pin.is_blocked:
        raise sw.Refusal(_blocked(session))
    quirk = session.contents.quirks.says_verified
    says_verified = session.contents.dialect.says_verified if quirk is None else quirk
    if pin.reference in session.verified and says_verified:
        return b""
    raise sw.Refusal(sw.ATTEMPTS_LEFT | pin.attempts_left)


def change_reference_data(session: Session, command: Command) -> bytes:
    """Replace the PIN: with the old one before the new one, or alone when it is verified."""
    if command.p1 not in session.contents.dialect.change_modes:
        raise sw.Refusal(sw.WRONG_P1P2)
    pin = _pin(session, command.p2)
    if command.p1 == _OLD_AND_NEW:
        size = len(pin.value)
        if len(command.data) != 2 * size:
            raise sw.Refusal(sw.WRONG_LENGTH)
        _present(session, pin, command.data[:size])
        _set_value(pin, command.data[size:])
        return b""
    if pin.reference not in session.unblocked:
        _require_verified(session, pin.reference)
    _set_value(pin, command.data)
    session.unblocked.discard(pin.reference)
    return b""


def reset_retry_counter(session: Session, command: Command) -> bytes:
    """Unblock the PIN once the PUK is verified, with a new value or with the old one."""
    if command.p1 not in session.contents.dialect.unblock_modes:
        raise sw.Refusal(sw.WRONG_P1P2)
    pin = _pin(session, command.p2)
    if pin.reference != USER_PIN_REFERENCE:
        raise sw.Refusal(sw.CONDITIONS_NOT_SATISFIED)
    _require_verified(session, _PUK_REFERENCE)
    if command.p1 == _WITH_NEW_PIN:
        _set_value(pin, command.data)
    elif command.data:
        raise sw.Refusal(sw.WRONG_LENGTH)
    pin.attempts_left = pin.attempts_max
    if session.contents.dialect.unblocking_lets_change:
        session.unblocked.add(pin.reference)
    return b""


def _pin(session: Session, reference: int) -> PinObject:
    pin = session.contents.pins.get(reference & session.contents.dialect.reference_mask)
    if pin is None:
        raise sw.Refusal(sw.REFERENCE_NOT_FOUND)
    return pin


def _require_verified(session: Session, reference: int) -> None:
    if reference not in session.verified:
        raise sw.Refusal(sw.SECURITY_NOT_SATISFIED)


def _present(session: Session, pin: PinObject, presented: bytes) -> None:
    """Compare, once. A wrong length is refused before it is compared (inferred)."""
    if pin.is_blocked:
        raise sw.Refusal(_blocked(session))
    if len(presented) != len(pin.value):
        raise sw.Refusal(sw.WRONG_LENGTH)
    session.verified.discard(pin.reference)
    pin.attempts_left -= 1
    if not hmac.compare_digest(presented, pin.value):
        left = pin.attempts_left
        raise sw.Refusal(sw.ATTEMPTS_LEFT | left if left else _blocked(session))
    pin.attempts_left = pin.attempts_max
    session.verified.add(pin.reference)


def _blocked(session: Session) -> int:
    is_counted = session.contents.quirks.says_63c0_for_blocked
    return sw.ATTEMPTS_LEFT if is_counted else sw.METHOD_BLOCKED


def _set_value(pin: PinObject, value: bytes) -> None:
    if len(value) != len(pin.value):
        raise sw.Refusal(sw.WRONG_LENGTH)
    pin.value[:] = value
