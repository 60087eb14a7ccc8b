"""Which token and which certificate: decisions on what a module said."""

from __future__ import annotations

from dataclasses import replace

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
    reader_of,
)
from cps_auth.card.pkcs11.wire import CertificateSeen, SlotSeen, TokenSeen
from cps_auth.errors import NoCard, NoReader, SeveralCards, UnsupportedCard
from cps_auth.model import ReaderState, Snapshot
from hardware_mocks.igc.fake_igc import FakeIgcSante

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
        "has_pin_pad": False,
        "certificates": (),
    }
    return TokenSeen(**(seen | changes))  # type: ignore[arg-type]  # fields by name


def _seat(slot_id: int, token: TokenSeen, reader: str | None = None) -> SlotCandidate:
    slot = SlotSeen(slot_id, f"slot {slot_id}", removable=reader is not None)
    state = ReaderState(reader, ATR) if reader else None
    return SlotCandidate(slot, token, CertificateSeen(b"\2", b""), state, 0.0)


def _seen(igc: FakeIgcSante, persona: str) -> tuple[CertificateSeen, CertificateSeen]:
    credentials = igc.credentials(persona)
    return (
        CertificateSeen(b"\1", credentials.signature_certificate_der),
        CertificateSeen(b"\2", credentials.authentication_certificate_der),
    )


def test_purpose_decides_in_any_order(igc) -> None:
    """The certificate for signatures is never taken, wherever it stands."""
    signature, authentication = _seen(igc, "doctor")
    assert authentication_certificate([signature, authentication]) == authentication
    assert authentication_certificate([authentication, signature]) == authentication
    assert authentication_certificate([signature]) is None
    assert authentication_certificate([]) is None


def test_a_ca_certificate_is_not_for_authentication(igc) -> None:
    """Authorities that a token also holds do not disturb."""
    _, authentication = _seen(igc, "doctor")
    roots = igc.trust_store().anchors
    anchors = [CertificateSeen(b"", root.public_bytes(Encoding.DER)) for root in roots]
    assert anchors
    assert authentication_certificate([*anchors, authentication]) == authentication


def test_the_same_certificate_twice_is_one_and_two_are_none(igc) -> None:
    """A copy under another identifier is the same; two holders are a doubt."""
    _, doctor = _seen(igc, "doctor")
    _, nurse = _seen(igc, "nurse")
    copy = CertificateSeen(b"\7", doctor.unverified_certificate_der)
    found = authentication_certificate([doctor, copy])
    assert found is not None
    assert found.unverified_certificate_der == doctor.unverified_certificate_der
    assert authentication_certificate([doctor, nurse]) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0, 1200), value=st.integers(0, 255), keep=st.integers(0, 3000))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_rubbish_is_no_certificate(igc, position, value, keep) -> None:
    """A cut or altered certificate is taken or left, and nothing else happens."""
    der = bytearray(igc.credentials("doctor").authentication_certificate_der)
    der[min(position, len(der) - 1)] = value
    seen = CertificateSeen(b"", bytes(der[:keep]))
    assert authentication_certificate([seen]) in (None, seen)


@pytest.mark.parametrize(
    ("name", "description", "matches"),
    [
        ("Virtual PCD 00 00", "Virtual PCD 00 00", True),
        ("Virtual PCD 00 00", "Virtual PCD 00 0", False),
        ("R" * 63 + " 00 00", "R" * 63, True),
        ("R" * 70, "R" * 64, True),
        ("Lecteur é" + "e" * 60, "Lecteur é" + "e" * 54, True),
    ],
)
def test_a_slot_is_matched_to_its_reader(name, description, matches) -> None:
    """By name, cut at 64 bytes of UTF-8."""
    reader = ReaderState(name, None)
    assert (reader_of(SlotSeen(0, description, True), [reader]) is reader) is matches


def test_readers_that_look_alike_are_not_matched() -> None:
    """Two names with the same first 64 bytes: nobody can tell which one the slot is."""
    readers = [ReaderState("R" * 64 + number, None) for number in (" 00", " 01")]
    assert reader_of(SlotSeen(0, "R" * 64, True), readers) is None


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
