"""The bugs that ANS's release notes own to, each in a module that has it, behind a PC/SC reader.

Numbers as there. PC/SC, in this process, says which card is in which reader.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    ContactlessNotEnough,
    NoCard,
    SeveralCards,
    UnsupportedCard,
)
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

pytestmark = pytest.mark.system

READER, OTHER = "Gemalto PC Twin Reader (C4F1A2B3) 00 00", "Gemalto PC Twin Reader (C4F1A2B4) 01 00"

MODULE = """
enum {{ GET_SLOT_LIST = 4, GET_SLOT_INFO = 5 }};
static word ids[8], count;
static word listed, described;
static void learn(void) {{
    count = 8;
    ((word (*)(unsigned char, word *, word *))real->call[GET_SLOT_LIST])(0, ids, &count);
}}
typedef word (*lister)(unsigned char, word *, word *);
static word slot_list(unsigned char present, word *out, word *length) {{
    listed++;
    {list}
    return ((lister)real->call[GET_SLOT_LIST])(present, out, length);
}}
static word slot_info(word slot, unsigned char *info) {{
    word rv = ((word (*)(word, unsigned char *))real->call[GET_SLOT_INFO])(slot, info);
    learn();
    const char *name = slot == ids[0] ? "{first}" : "{second}";
    memset(info, ' ', 64);
    memcpy(info, name, strlen(name) < 64 ? strlen(name) : 64);
    *(word *)(info + 96) |= 6;  /* removable, hardware */
    return rv;
}}
static word token_info(word slot, unsigned char *info) {{
    described++;
    learn();
    if (slot != ids[0]) return {absent};
    {token}
    word rv = ((word (*)(word, unsigned char *))real->call[GET_TOKEN_INFO])(slot, info);
    {after}
    return rv;
}}
{more}
static void override(void) {{
    ours.call[GET_SLOT_LIST] = slot_list;
    ours.call[GET_SLOT_INFO] = slot_info;
    ours.call[GET_TOKEN_INFO] = token_info;
    {install}
}}
"""


class Bench:
    """A module with a bug, and the readers as PC/SC sees them."""

    def __init__(self, compile_shim, igc, *, names=(READER, OTHER), **bug) -> None:
        parts = {"list": "", "first": names[0], "second": names[1], "absent": "0xE0", "token": "",
                 "after": "", "more": "", "install": ""}  # fmt: skip
        self.module: Path = compile_shim(MODULE.format(**(parts | bug)))
        self.credentials = igc.credentials("doctor")
        self.readers = VirtualReaders(*names)
        self.card = VirtualCard(PERSONAS["doctor"], self.credentials, "cps3")
        self.readers.insert(names[0], self.card)

    def cards(self) -> Pkcs11Cards:
        """Return a new source."""
        return Pkcs11Cards(self.module, self.readers.service)

    def log_in(self, challenge, reader=None) -> None:
        """Do what a login does with a card, and verify it."""
        with self.cards().open_card(reader) as card:
            der = card.read_authentication_certificate()
            assert der == self.credentials.authentication_certificate_der
            signature = card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert is_signature_of(der, challenge.message(), signature)


@pytest.mark.parametrize(
    "bug",
    [
        pytest.param({}, id="none"),
        pytest.param({"list": "if (listed == 1) { *length = 0; return 0; }"}, id="1347"),
        pytest.param({"list": "if (listed == 1) return 5;"}, id="1347, as an error"),
        pytest.param({"token": "if (described == 1) return 0xE0;"}, id="token not yet present"),
        pytest.param({"token": "if (described == 1) return 0xE1;"}, id="not yet recognised"),
        pytest.param({"token": "if (described == 1) return 5;"}, id="not yet anything"),
        pytest.param({"absent": "5"}, id="1460, in the empty reader"),
        pytest.param({"absent": "0xE1"}, id="empty reader not recognised"),
    ],
)
def test_wrong_once_after_an_insertion(compile_shim, igc, challenge, bug) -> None:
    """What a module says first is not its last word while PC/SC sees a CPS: the login holds."""
    Bench(compile_shim, igc, **bug).log_in(challenge)


def test_the_same_card_again_after_a_wrong_list(compile_shim, igc, challenge) -> None:
    """1347 in every fresh process: an open card proves twice, with another process each time."""
    bench = Bench(compile_shim, igc, list="if (listed == 1) { *length = 0; return 0; }")
    with bench.cards().open_card() as card:
        for _ in range(2):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)


@pytest.mark.parametrize("code", ["5", "0xE0", "0xE1", "0x32"])
def test_a_module_that_never_sees_the_card(compile_shim, igc, code) -> None:
    """It is asked twice, and then the card is one that this module cannot use."""
    with pytest.raises(UnsupportedCard):
        Bench(compile_shim, igc, token=f"return {code};").cards().open_card()


@pytest.mark.parametrize(
    "names",
    [
        pytest.param((READER, OTHER), id="two of one make"),
        pytest.param(("R" * 64 + " 00 00", "R" * 64 + " 01 00"), id="alike when cut"),
        pytest.param(("R" * 63 + "x 00 00", "B 00 00"), id="longer than a description"),
        pytest.param(("Lecteur é" + "e" * 53 + "é 00 00", "B 00 00"), id="cut within a letter"),
    ],
)
def test_names_of_readers(compile_shim, igc, challenge, names) -> None:
    """Whatever the readers are called, the slot of the one that holds the card is found."""
    bench = Bench(compile_shim, igc, names=names)
    bench.log_in(challenge)
    bench.log_in(challenge, names[0])
    with pytest.raises(NoCard):
        bench.cards().open_card(names[1])
    bench.readers.remove(names[0])
    with pytest.raises(NoCard):
        bench.cards().open_card()


def test_cards_in_readers_that_look_alike(compile_shim, igc) -> None:
    """With a card in each nobody can tell which slot is which: several cards, not a strange one."""
    names = ("R" * 64 + " 00 00", "R" * 64 + " 01 00")
    bench = Bench(compile_shim, igc, names=names)
    bench.readers.insert(names[1], VirtualCard(PERSONAS["nurse"], igc.credentials("nurse"), "cps3"))
    with pytest.raises(SeveralCards) as several:
        bench.cards().open_card()
    assert several.value.readers == names


def test_a_card_without_contact(compile_shim, igc) -> None:
    """A contactless CPS of which the module makes nothing is named as what it is."""
    bench = Bench(compile_shim, igc, token="return 0xE1;")
    bench.readers.remove(READER)
    bench.readers.insert(
        READER, VirtualCard(bench.card.persona, bench.credentials, "cps3-contactless")
    )
    with pytest.raises(ContactlessNotEnough):
        bench.cards().open_card()


@pytest.mark.parametrize("when", [2, 3, 4])
def test_the_previous_card(compile_shim, igc, challenge, when) -> None:
    """789, 1359: from some reading on, the information of another token: no identity of it."""
    bench = Bench(compile_shim, igc, after=f"if (described >= {when}) info[80] ^= 1;")
    with pytest.raises(CardRemoved):
        bench.log_in(challenge)


ATTRIBUTES = """
typedef struct {{ word type; void *value; word length; }} attribute;
static word read_attributes(word session, word object, attribute *wanted, word count) {{
    word rv = ((word (*)(word, word, attribute *, word))real->call[GET_ATTRIBUTE_VALUE])
        (session, object, wanted, count);
    for (word i = 0; i < count; i++)
        if (wanted[i].type == {hidden}) {{ wanted[i].length = ~0UL; return 0x12; }}
    return rv;
}}
"""
MODULUS, ALWAYS_AUTHENTICATE = "0x120", "0x202"


@pytest.mark.parametrize("hidden", [MODULUS, ALWAYS_AUTHENTICATE])
def test_attributes_that_a_module_does_not_know(compile_shim, igc, challenge, hidden) -> None:
    """Without CKA_MODULUS the key is the one with the certificate's CKA_ID."""
    Bench(
        compile_shim,
        igc,
        more=ATTRIBUTES.format(hidden=hidden),
        install="ours.call[GET_ATTRIBUTE_VALUE] = read_attributes;",
    ).log_in(challenge)


def test_a_login_that_is_none(compile_shim, igc, challenge) -> None:
    """1074, 1311: a token that says "already logged in" has compared nothing: refused."""
    bench = Bench(
        compile_shim,
        igc,
        more="static word login(word s, word u, void *p, word n) { return 0x100; }",
        install="ours.call[LOGIN] = login;",
    )
    with pytest.raises(CardMisbehaved):
        bench.log_in(challenge)
