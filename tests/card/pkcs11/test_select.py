"""Which token and which certificate: decisions on what a module said."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cps_auth.card.pin import PIN, PUK
from cps_auth.card.pkcs11.select import (
    SlotCandidate,
    attempts_left,
    authentication_certificate,
    choose_candidate,
    explain_absence,
    readers_of,
)
from cps_auth.card.pkcs11.wire import CertificateSeen, SlotSeen, TokenSeen
from cps_auth.errors import (
    NoAuthenticationCertificate,
    NoCard,
    NoReader,
    SeveralCards,
    SeveralCertificates,
    UnsupportedCard,
)
from cps_auth.model import ReaderState, Snapshot
from hardware_mocks.igc.fake_igc import FakeIgcSante

NOW = datetime.now(UTC)
ATR = bytes.fromhex("3BAC00402A001225006480000310009000")


def _token(serial: str = "99000001", **changes: object) -> TokenSeen:
    seen: dict[str, object] = {
        "serial": serial,
        "label": "CPS",
        "initialised": True,
        "login_required": True,
        "pin_final_try": False,
        "pin_locked": False,
        "puk_final_try": False,
        "puk_locked": False,
        "tells_puk": False,
        "has_pin_pad": False,
        "certificates": (),
    }
    return TokenSeen(**(seen | changes))  # type: ignore[arg-type]  # fields by name


def _seat(slot_id: int, token: TokenSeen, reader: str | None = None) -> SlotCandidate:
    slot = SlotSeen(slot_id, f"slot {slot_id}", removable=reader is not None)
    state = ReaderState(reader, ATR) if reader else None
    return SlotCandidate(slot, token, CertificateSeen(b"\2", b""), state)


def _seen(igc: FakeIgcSante, persona: str) -> tuple[CertificateSeen, CertificateSeen]:
    credentials = igc.credentials(persona)
    return (
        CertificateSeen(b"\1", credentials.signature_certificate_der),
        CertificateSeen(b"\2", credentials.authentication_certificate_der),
    )


def test_purpose_decides_in_any_order(igc) -> None:
    """The certificate for signatures is never taken, wherever it stands."""
    signature, authentication = _seen(igc, "doctor")
    assert authentication_certificate([signature, authentication], NOW) == authentication
    assert authentication_certificate([authentication, signature], NOW) == authentication
    for none in ([signature], []):
        with pytest.raises(NoAuthenticationCertificate):
            authentication_certificate(none, NOW)


def test_a_ca_certificate_is_not_for_authentication(igc) -> None:
    """Authorities that a token also holds do not disturb."""
    _, authentication = _seen(igc, "doctor")
    roots = igc.trust_store().anchors
    anchors = [CertificateSeen(b"", root.public_bytes(Encoding.DER)) for root in roots]
    assert anchors
    assert authentication_certificate([*anchors, authentication], NOW) == authentication


def test_the_same_certificate_twice_is_one_and_two_are_a_doubt(igc) -> None:
    """A copy under another identifier is the same; two holders are a doubt that is told."""
    _, doctor = _seen(igc, "doctor")
    _, nurse = _seen(igc, "nurse")
    copy = CertificateSeen(b"\7", doctor.unverified_certificate_der)
    found = authentication_certificate([doctor, copy], NOW)
    assert found.unverified_certificate_der == doctor.unverified_certificate_der
    with pytest.raises(SeveralCertificates):
        authentication_certificate([doctor, nurse], NOW)


def test_of_two_certificates_the_one_valid_now(igc) -> None:
    """As after a renewal; where none is valid the last one is taken, and whoever judges says so."""
    _, doctor = _seen(igc, "doctor")
    _, expired = _seen(igc, "expired")
    assert authentication_certificate([doctor, expired], NOW) == doctor
    assert authentication_certificate([expired, doctor], NOW) == doctor
    late = NOW + timedelta(days=365 * 30)
    assert authentication_certificate([expired, doctor], late) == doctor
    assert authentication_certificate([expired], NOW) == expired


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0, 1200), value=st.integers(0, 255), keep=st.integers(0, 3000))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_rubbish_is_no_certificate(igc, position, value, keep) -> None:
    """A cut or altered certificate is taken or left, and nothing else happens."""
    der = bytearray(igc.credentials("doctor").authentication_certificate_der)
    der[min(position, len(der) - 1)] = value
    seen = CertificateSeen(b"", bytes(der[:keep]))
    with contextlib.suppress(NoAuthenticationCertificate):
        assert authentication_certificate([seen], NOW) == seen


def _slot(slot_id: int, description: str, has_token: bool = True) -> SlotSeen:
    return SlotSeen(slot_id, description, removable=True, has_token=has_token)


LONG = "SCM Microsystems Inc. SCR 3310 [CCID Interface] (5331185071307) "


@pytest.mark.parametrize("cut", [63, 64, 61, 32, 0])
@pytest.mark.parametrize("more", ["", "..."])
def test_a_slot_whose_name_was_cut(cut: int, more: str) -> None:
    """However a module shortens a name: PC/SC knows in which reader the only card is."""
    readers = [ReaderState(f"{LONG}0{n} 00", ATR if n == 1 else None) for n in range(2)]
    description = readers[1].name[:cut] + more
    slots = [_slot(n, description, has_token=n == 1) for n in range(2)]
    assert readers_of(slots, readers)[1] is readers[1]


def test_a_slot_that_bears_its_readers_name() -> None:
    """A name that is whole decides, wherever the slot stands."""
    readers = [ReaderState("A", ATR), ReaderState("B", ATR), ReaderState("C", None)]
    found = readers_of([_slot(0, "B"), _slot(1, "A"), _slot(2, "A")], readers)
    assert found == {0: readers[1], 1: readers[0], 2: readers[0]}


def test_slots_in_the_order_of_the_readers() -> None:
    """Two cards, names cut: their places tell, if what is in them agrees."""
    readers = [ReaderState(f"Reader {n}", None if n == 1 else ATR) for n in range(3)]
    slots = [_slot(n, f"R{n}", has_token=n != 1) for n in range(3)]
    assert readers_of(slots, readers) == dict(enumerate(readers))
    assert readers_of(slots[::-1], readers)[2] is readers[0]
    assert readers_of([slots[0], slots[2], slots[1]], readers) == {}


def test_readers_that_look_alike_are_not_matched() -> None:
    """Two cards, one description for both: nobody can tell which one the slot is."""
    readers = [ReaderState("R" * 64 + number, ATR) for number in (" 00", " 01")]
    slots = [_slot(0, "R" * 64), _slot(1, "R" * 64)]
    assert readers_of(slots, readers) == {}
    absence = explain_absence(Snapshot(tuple(readers)), slots, None)
    assert isinstance(absence, SeveralCards)
    assert absence.readers == tuple(reader.name for reader in readers)


def test_a_soft_token_has_no_reader() -> None:
    """A slot that takes no reader is never matched."""
    assert readers_of([SlotSeen(0, "A", removable=False)], [ReaderState("A", ATR)]) == {}


def test_one_card_in_several_slots_is_one_card() -> None:
    """One serial is one card, and the slot that has a PIN is the one to use."""
    without_pin = _seat(0, _token(login_required=False), "contactless")
    with_pin = _seat(1, _token(), "contact")
    assert choose_candidate([without_pin, with_pin]) is with_pin
    assert choose_candidate([with_pin, with_pin]) is with_pin
    assert choose_candidate([]) is None


def test_two_serials_are_several_cards() -> None:
    """Their readers are named in a stable order."""
    seats = [_seat(1, _token("2"), "B"), _seat(0, _token("1"), "A")]
    with pytest.raises(SeveralCards) as several:
        choose_candidate(seats)
    assert several.value.readers == ("A", "B")


def test_a_token_read_again_must_be_the_same(igc) -> None:
    """Another serial or another certificate is another token; other flags are not."""
    signature, doctor = _seen(igc, "doctor")
    _, nurse = _seen(igc, "nurse")
    seat = replace(_seat(0, _token(certificates=(signature, doctor))), certificate=doctor)
    assert seat.is_of(_token(certificates=(doctor,), pin_final_try=True))
    assert not seat.is_of(_token("99000002", certificates=(doctor,)))
    assert not seat.is_of(_token(certificates=(nurse,)))
    assert not seat.is_of(_token())


@pytest.mark.parametrize(
    ("readers", "slots", "named", "error"),
    [
        ((), (), None, NoReader),
        ((), ("soft",), None, NoCard),
        ((), ("soft",), "soft", NoCard),
        ((), ("soft",), "other", NoReader),
        ((("A", None),), (), None, NoCard),
        ((("A", None),), (), "B", NoReader),
        ((("A", ATR), ("B", None)), (), "B", NoCard),
        ((("A", ATR), ("B", None)), (), None, UnsupportedCard),
    ],
)
def test_why_there_is_no_card(readers, slots, named, error) -> None:
    """No reader, an empty one and a card that is no CPS are told apart."""
    snapshot = Snapshot(tuple(ReaderState(*reader) for reader in readers))
    seen = [SlotSeen(number, name, False) for number, name in enumerate(slots)]
    assert type(explain_absence(snapshot, seen, named)) is error


@pytest.mark.parametrize(
    ("locked", "final_try", "left"),
    [(False, False, None), (False, True, 1), (True, False, 0), (True, True, 0)],
)
def test_flags_become_attempts(locked, final_try, left) -> None:
    """Locked is none, final try is one, and silence is unknown."""
    assert attempts_left(_token(pin_locked=locked, pin_final_try=final_try), PIN) == left
    assert attempts_left(_token(puk_locked=locked, puk_final_try=final_try), PUK) == left
