"""The files of the virtual CPS3, byte by byte against what real cards were seen to answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from cryptography import x509

from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS

CONTACT_AID = "E828BD080F80250000 01FF0010".replace(" ", "")


@pytest.fixture
def card(igc: FakeIgcSante) -> VirtualCard:
    """A new CPS3 of the doctor."""
    return VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))


def ask(card: VirtualCard, command_hex: str) -> str:
    """Send one command and return the answer, both in hexadecimal."""
    return card.transmit(bytes.fromhex(command_hex)).hex().upper()


def select(card: VirtualCard, path_hex: str) -> str:
    """Select by path as the ANS module does and return the template without 9000."""
    length = len(path_hex) // 2
    waiting = ask(card, f"00A40904{length:02X}{path_hex}")
    assert waiting.startswith("61"), waiting
    return ask(card, f"00C00000{waiting[2:]}").removesuffix("9000")


def read(card: VirtualCard, path_hex: str) -> bytes:
    """Return the whole file, read in pieces of 231 bytes as the ANS module does."""
    select(card, path_hex)
    content = b""
    while (answer := card.transmit(bytes([0, 0xB0, len(content) >> 8, len(content) & 0xFF, 231])))[
        -2:
    ] == b"\x90\x00":
        content += answer[:-2]
    assert answer == b"\x6b\x00"
    return content


def test_answer_to_reset_is_that_of_a_cps3(card: VirtualCard) -> None:
    """The ANS module compares all 17 bytes."""
    assert card.atr.hex().upper() == "3BAC00402A001225006480000310009000"
    assert card.protocol == 0


def test_the_fcp_of_an_ef_is_that_of_a_real_card(card: VirtualCard) -> None:
    """Size, descriptor, identifier, short identifier, both access rules, life cycle."""
    assert select(card, "3F002F00") == (
        "6225800200658201018302 2F008801F0A1128C077BFFFFFFFFFF009C077BFFFFFFFFFF008A0105"
    ).replace(" ", "")


def test_ef_atr_and_ef_dir_hold_the_known_bytes(card: VirtualCard) -> None:
    """EF.ATR is 57 bytes and EF.DIR 101, with the contact application alone."""
    assert read(card, "3F002F01").hex() == (
        "8043 01b8460404b0ecc147039401804f088025000001ff0100e010020201040202010402020100020201"
        "00780806062b8122f878028202 9000"
    ).replace(" ", "")
    directory = read(card, "3F002F00")
    assert len(directory) == 101
    assert directory.rstrip(b"\0").hex().upper() == (
        f"612F4F0D{CONTACT_AID}500743505320494153 51043F000001730F4F0D{CONTACT_AID}".replace(
            " ", ""
        )
    )


def test_the_serial_number_ends_in_a_luhn_digit(igc: FakeIgcSante) -> None:
    """Twelve bytes; the chip serial 99213845 of a published card gives the digit 0."""
    persona = replace(PERSONAS["doctor"], chip_serial="99213845")
    card = VirtualCard(persona, igc.credentials("doctor"))
    assert read(card, "3F00D003").hex().upper() == "5A0A8025000001992138450F"


def test_ef_actua_is_there_when_the_persona_says_so(igc: FakeIgcSante) -> None:
    """EC with 81, start, and 82, end, as BCD dates; with the FCP of any EF."""
    persona = replace(PERSONAS["doctor"], actualised=(date(2024, 2, 29), date(2027, 2, 28)))
    card = VirtualCard(persona, igc.credentials("doctor"))
    assert select(card, "3F00D010").startswith("62248002000E8201018302D010")
    assert read(card, "3F00D010").hex().upper() == "EC0C8104202402298204 20270228".replace(" ", "")


def test_a_short_identifier_reads_without_select(card: VirtualCard) -> None:
    """OpenSC reads EF.SN with SFI 1C and asks for more than there is."""
    assert ask(card, "00B09C00C0").startswith("5A0A8025000001")


def test_a_read_past_the_end_is_6b00(card: VirtualCard) -> None:
    """The offset must lie in the file."""
    select(card, "3F00D003")
    assert ask(card, "00B0000C01") == "6B00"


@pytest.mark.parametrize(
    ("select_hex", "answer"),
    [
        ("00A4000C023F00", "9000"),  # by identifier
        ("00A4000C020001", "9000"),
        ("00A4000C00", "9000"),  # nothing: the master file
        ("00A4020C022F00", "9000"),  # child EF
        ("00A4020C020001", "6A82"),  # a DF is not an EF
        ("00A4030C00", "9000"),  # parent of the master file
        ("00A4080C0400015031", "9000"),  # path from the master file
        ("00A4090C063F0000015032", "9000"),  # with 3F00, from anywhere
        ("00A4090C0400015031", "9000"),  # from the current DF
        ("00A4090C043F00D010", "6A82"),  # EF.ACTUA is usually absent
        (f"00A404040D{CONTACT_AID}", "9000"),  # by AID: no template
        (f"00A404000D{CONTACT_AID}", "6A86"),  # as a real card
        ("00A40400088025000001FF0100", "9000"),
        ("00A4040C088025000001FF0199", "6A82"),
        ("00A4050C023F00", "6A86"),
        ("00A4000B023F00", "6A86"),
        ("00A4000C033F0000", "6700"),
        ("00A4090C0400012F00", "6A82"),  # EF.DIR is not below the application
    ],
)
def test_select_in_every_form(card: VirtualCard, select_hex: str, answer: str) -> None:
    """Each way of naming a file leads where ISO/IEC 7816-4 and the traces say."""
    assert ask(card, select_hex) == answer


def test_select_by_identifier_reaches_the_parent_and_its_files(card: VirtualCard) -> None:
    """From the application, P1=00 finds EF.DIR beside it."""
    ask(card, "00A4000C020001")
    assert ask(card, "00A4000C022F00") == "9000"
    assert ask(card, "00B0000002") == "612F9000"


def test_p2_chooses_the_template(card: VirtualCard) -> None:
    """00 gives an FCI (6F), 04 an FCP (62)."""
    for p2, tag in (("00", "6F"), ("04", "62")):
        waiting = ask(card, f"00A409{p2}043F002F00")
        assert ask(card, f"00C00000{waiting[2:]}").startswith(tag)


def test_get_response_serves_remainders(card: VirtualCard) -> None:
    """A longer Le than what waits is answered 6Cxx, a shorter one leaves 61xx; then 6985."""
    waiting = ask(card, "00A409040 43F002F00".replace(" ", ""))
    assert waiting == "6127"
    assert ask(card, "00C0000028") == "6C27"
    first = ask(card, "00C0000010")
    assert first.endswith("6117")
    rest = ask(card, "00C0000017")
    assert len(first[:-4] + rest[:-4]) == 2 * 0x27
    assert ask(card, "00C0000001") == "6985"


def test_another_command_drops_what_waits(card: VirtualCard) -> None:
    """GET RESPONSE belongs to the command just before it."""
    ask(card, "00A40904043F002F00")
    ask(card, "00B0000001")
    assert ask(card, "00C0000027") == "6985"


@pytest.mark.parametrize(
    ("command_hex", "answer"),
    [
        ("", "6700"),
        ("00A4", "6700"),
        ("00A4090C053F00", "6700"),  # Lc says five
        ("00A4090C043F002F0000", "6700"),  # T=0 knows no Le in a case 4
        ("00B000000100", "6700"),
        ("00FF0000", "6D00"),
        ("80A40000023F00", "6E00"),
        ("10A4000C023F00", "6884"),  # only PSO is chained
    ],
)
def test_malformed_commands_have_their_status_word(
    card: VirtualCard, command_hex: str, answer: str
) -> None:
    """Wrong length, unknown instruction, unknown class, chaining where there is none."""
    assert ask(card, command_hex) == answer


def test_the_certificates_are_the_ones_of_the_persona(card: VirtualCard, igc: FakeIgcSante) -> None:
    """B002 is the authentication certificate, bare DER."""
    der = read(card, "3F000001B002")
    assert der == igc.credentials("doctor").authentication_certificate_der
    assert x509.load_der_x509_certificate(der)


def test_a_protected_data_object_needs_the_pin(card: VirtualCard) -> None:
    """CPS_ACTIVITY_01_PS is read after VERIFY only, and says where the holder works."""
    select(card, "3F000001D120")
    assert ask(card, "00B0000010") == "6982"
    assert ask(card, "002000010431323334") == "9000"
    assert ask(card, "00B0000002").startswith("EE")


def test_cps_data_is_written_by_anybody_and_stays(card: VirtualCard) -> None:
    """D107 takes UPDATE BINARY without a PIN and keeps it over a power cycle; it never grows."""
    select(card, "3F000001D107")
    assert ask(card, "00D60001 02CAFE".replace(" ", "")) == "9000"
    assert ask(card, "00D600FF02CAFE") == "6B00"
    card.power_off()
    card.power_on()
    assert read(card, "3F000001D107")[:4] == b"\x00\xca\xfe\x00"


def test_no_other_file_is_written(card: VirtualCard) -> None:
    """Not even after the PIN."""
    ask(card, "002000010431323334")
    select(card, "3F000001B002")
    assert ask(card, "00D6000001AA") == "6982"


def test_reading_needs_a_current_file(card: VirtualCard) -> None:
    """A power cycle takes the card back to the master file, where no EF is current."""
    select(card, "3F002F00")
    card.reset()
    assert ask(card, "00B0000001") == "6986"


def test_pin_and_key_objects_answer_as_real_ones(card: VirtualCard) -> None:
    """GET DATA gives the counters byte for byte, the key's rules, and refuses its public part."""
    assert ask(card, "00CB3FFF0A4D087006BF810102A080") == "6118"
    assert ask(card, "00C0000018") == "7016BF810112A0109A01039B0103A1088C06F3000013FF009000"
    ask(card, "00CB3FFF0B4D097007BF8101037F4180")
    assert ask(card, "00C000000F") == "700DBF8101097F410680010481010 49000".replace(" ", "")
    ask(card, "00CB3FFF0A4D087006BF900102A080")
    assert ask(card, "00C0000018") == "7016BF900112A010A1078C05CB11FFFF00800201009E01009000"
    assert ask(card, "00CB3FFF0B4D097007BF9001037F4880") == "6A80"
    assert ask(card, "00CB3FFF0A4D087006BF810702A080") == "6A88"
    assert ask(card, "00CB3FFF034D0170") == "6A80"


def test_two_personas_never_share_a_chip_serial() -> None:
    """Middleware caches by serial: two virtual cards with one would be taken for each other."""
    serials = [persona.chip_serial for persona in PERSONAS.values()]
    assert len(set(serials)) == len(serials)
