"""A known card costs almost nothing, and a wrong memory of it costs no attempt and no identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.native.card_cache import CachedCard, CardCache, CardEntry, CardMemory
from cps_auth.card.native.pkcs15 import FileReference
from cps_auth.card.native.source import NativeCards
from cps_auth.errors import CardMisbehaved, CardRemoved, LastAttempt
from cps_auth.login.challenge import issue_challenge
from cps_auth.model import CardKind
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS, CardCredentials
from hardware_mocks.readers.virtual_readers import VirtualReaders

CHALLENGE = issue_challenge("https://cabinet.example", at=datetime.now(UTC))
READER = "Reader"
KINDS = {"cps3": CardKind.CPS3, "cps4": CardKind.CPS4}


def _log_in(cards: NativeCards) -> bytes:
    with cards.open_card() as card:
        certificate_der = card.read_authentication_certificate()
        signature = card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert is_signature_of(certificate_der, CHALLENGE.message(), signature)
    return certificate_der


def _card(igc: FakeIgcSante, persona: str = "doctor", kind: str = "cps3") -> VirtualCard:
    return VirtualCard(PERSONAS[persona], igc.credentials(persona), kind)


def _with_large_certificate(credentials: CardCredentials) -> CardCredentials:
    """Give a certificate of 2300 bytes, as large as real ones, to the authentication key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "899700000000")])
    key = credentials.authentication_key
    for padding in range(1500, 1900):
        builder = (
            x509.CertificateBuilder(name, name, key.public_key(), 1)
            .not_valid_before(CHALLENGE.issued_at)
            .not_valid_after(CHALLENGE.issued_at + timedelta(days=1))
            .add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(padding)),
                critical=False,
            )
        )
        der = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
        if len(der) >= 2300:
            return replace(credentials, authentication_certificate_der=der)
    raise AssertionError


@pytest.mark.parametrize("kind", [*KINDS, "cps4-t0"])
def test_what_a_login_costs(igc: FakeIgcSante, kind: str) -> None:
    """At most 30 commands, 2.3 kB of certificate included; at most 10 on a known card."""
    readers = VirtualReaders(READER)
    credentials = _with_large_certificate(igc.credentials("doctor"))
    card = VirtualCard(PERSONAS["doctor"], credentials, kind)
    readers.insert(READER, card)
    cards = NativeCards(readers.service)
    first = _log_in(cards)
    assert len(first) == 2300
    assert readers.apdu_count <= 30
    for is_inserted in (False, True):
        if is_inserted:
            readers.remove(READER)
            readers.insert(READER, card)
        before = readers.apdu_count
        assert _log_in(cards) == first
        assert readers.apdu_count - before <= 10


def test_a_known_card_is_compared_once_an_insertion(igc: FakeIgcSante) -> None:
    """The end of its certificate is read when it comes back, not when it just stayed."""
    readers = VirtualReaders(READER)
    cards = NativeCards(readers.service)
    card = _card(igc)
    counts = []
    for is_inserted in (True, True, False, False, True, False):
        if is_inserted:
            readers.remove(READER)
            readers.insert(READER, card)
        before = readers.apdu_count
        _log_in(cards)
        counts.append(readers.apdu_count - before)
    _, back, *stayed, back_again, stayed_again = counts
    assert back == back_again
    assert {*stayed, stayed_again} == {back - 1}


def test_a_card_that_turned_out_wrong_is_compared_again(igc: FakeIgcSante) -> None:
    """What one insertion proved does not outlive a doubt."""
    readers = VirtualReaders(READER)
    cache = CardCache()
    card = _card(igc)
    readers.insert(READER, card)
    cards = NativeCards(readers.service, cache)
    _log_in(cards)
    (insertion,) = cards.readers()
    memory = CardMemory(cache, CardKind.CPS3, card.serial, insertion)
    assert memory.is_proven
    memory.forget()
    assert CardMemory(cache, CardKind.CPS3, card.serial, insertion).card is None


def test_one_serial_two_certificates(igc: FakeIgcSante) -> None:
    """A card renewed under its old serial is noticed before any PIN is sent, then read afresh."""
    readers = VirtualReaders(READER)
    cards = NativeCards(readers.service)
    readers.insert(READER, _card(igc))
    old = _log_in(cards)
    serial = PERSONAS["doctor"].chip_serial
    renewed = VirtualCard(
        replace(PERSONAS["nurse"], chip_serial=serial), igc.credentials("nurse"), "cps3"
    )
    readers.swap(READER, renewed)
    before = len(readers.commands)
    with cards.open_card() as card, pytest.raises(CardRemoved):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert not any(command[1] == 0x20 for command in readers.commands[before:])
    assert _log_in(cards) != old


def test_a_key_that_is_not_the_certificates(igc: FakeIgcSante) -> None:
    """Only what a signature proved is remembered."""
    cache = CardCache()
    readers = VirtualReaders(READER)
    card = _card(igc)
    readers.insert(READER, card)
    cards = NativeCards(readers.service, cache)
    with cards.open_card() as opened:
        opened.read_authentication_certificate()
    assert cache.get(CardKind.CPS3, card.serial).card is None
    _log_in(cards)
    known = cache.get(CardKind.CPS3, card.serial).card
    assert known is not None
    assert known.certificate_der == igc.credentials("doctor").authentication_certificate_der


def test_a_signature_by_another_key(igc: FakeIgcSante) -> None:
    """A card whose key is not its certificate's logs nobody in, and is not remembered."""
    credentials = replace(
        igc.credentials("doctor"), authentication_key=igc.credentials("nurse").authentication_key
    )
    card = VirtualCard(PERSONAS["doctor"], credentials, "cps3")
    cache = CardCache()
    readers = VirtualReaders(READER)
    readers.insert(READER, card)
    with NativeCards(readers.service, cache).open_card() as opened:
        opened.read_authentication_certificate()
        with pytest.raises(CardMisbehaved, match="not made by the certificate's key"):
            opened.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert cache.get(CardKind.CPS3, card.serial).card is None


def test_a_known_card_whose_counter_cannot_be_read(igc: FakeIgcSante, proven: CachedCard) -> None:
    """A question without a PIN that goes wrong makes it unknown, too."""
    layout = replace(proven.layout, certificate=FileReference(b"\xb0\x77"))
    cache = CardCache()
    card = _card(igc)
    cache.put(CardKind.CPS3, card.serial, CardEntry(replace(proven, layout=layout)))
    readers = VirtualReaders(READER)
    readers.insert(READER, card)
    with NativeCards(readers.service, cache).open_card() as opened:
        with pytest.raises(CardMisbehaved):
            opened.pin_attempts_left()
        assert cache.get(CardKind.CPS3, card.serial).card is None


@pytest.mark.parametrize("what", ["certificate", "key", "password"])
def test_wrong_memory(igc: FakeIgcSante, proven: CachedCard, what: str) -> None:
    """A memory that leads nowhere on the card is refused once, costs no attempt, and is gone."""
    layout = proven.layout
    wrong = {
        "certificate": replace(layout, certificate=FileReference(b"\xb0\x77")),
        "key": replace(layout, key=replace(layout.key, reference=0x99)),
        "password": replace(layout, password=replace(layout.password, reference=0x07)),  # type: ignore[type-var]  # it has one
    }
    cache = CardCache()
    card = _card(igc)
    cache.put(CardKind.CPS3, card.serial, CardEntry(replace(proven, layout=wrong[what])))
    readers = VirtualReaders(READER)
    readers.insert(READER, card)
    cards = NativeCards(readers.service, cache)
    with pytest.raises((CardMisbehaved, LastAttempt)):
        _log_in(cards)
    assert card.pin_attempts_left == 3
    _log_in(cards)


@pytest.fixture
def proven(igc: FakeIgcSante) -> CachedCard:
    """What a login leaves behind."""
    cache = CardCache()
    readers = VirtualReaders(READER)
    readers.insert(READER, _card(igc))
    _log_in(NativeCards(readers.service, cache))
    known = cache.get(CardKind.CPS3, PERSONAS["doctor"].chip_serial).card
    assert known is not None
    return known


def test_memory_is_bounded(proven: CachedCard) -> None:
    """However many cards come by, only the last few dozen are known."""
    cache = CardCache()
    for number in range(200):
        cache.put(CardKind.CPS3, f"{number:08}", CardEntry(proven))
    assert cache.get(CardKind.CPS3, "00000000").card is None
    assert cache.get(CardKind.CPS3, "00000199").card == proven
