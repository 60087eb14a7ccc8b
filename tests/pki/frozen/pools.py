"""The parts that changes of meaning put into certificates, lists and answers."""

from __future__ import annotations

from tests.pki.frozen.der_tree import tlv

USAGES = "1.3.6.1.5.5.7.3"
ANS = "1.2.250.1.71"


def oid(dotted: str) -> bytes:
    """Return the content of an OBJECT IDENTIFIER (X.690 section 8.19)."""
    first, second, *rest = map(int, dotted.split("."))
    content = b""
    for arc in (40 * first + second, *rest):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.insert(0, 0x80 | arc & 0x7F)
        content += bytes(octets)
    return content


def _oid(dotted: str) -> bytes:
    return tlv(0x06, oid(dotted))


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """Return one Extension."""
    flag = tlv(0x01, b"\xff") if critical else b""
    return tlv(0x30, _oid(dotted) + flag + tlv(0x04, value))


def _sequence(*parts: bytes) -> bytes:
    return tlv(0x30, b"".join(parts))


OIDS = tuple(
    map(
        oid,
        (
            *(f"{USAGES}.{last}" for last in (1, 2, 3, 4, 9)),
            "1.3.6.1.4.1.311.20.2.2",  # smart card logon
            *(f"2.5.29.{last}" for last in (14, 15, 17, 18, 19, 20, 21, 27, 28, 29, 30, 31)),
            *(f"2.5.29.{last}" for last in (32, 33, 35, 36, 37, 46, 54)),
            "2.5.29.32.0",
            "2.5.29.37.0",
            *(f"{ANS}.1.2.{last}" for last in (2, 3, 5, 7, 8)),
            f"{ANS}.4.2.5",
            *(f"2.5.4.{last}" for last in (3, 4, 5, 6, 8, 10, 11, 12, 42)),
            "1.2.250.1.213.1.7.1.1.1.1.1",
            "1.2.250.1.213.1.7.2.1",
            "1.3.6.1.4.1.10015.1.3",
            *(f"1.2.840.113549.1.1.{last}" for last in (1, 4, 5, 10, 11, 12, 13)),
            "1.2.840.10045.4.3.2",
            *(f"1.3.6.1.5.5.7.48.1.{last}" for last in (1, 2, 5)),
            "1.2.3.4",
        ),
    )
)

_SMALL = "00 01 02 03 04 06 08 09 0a 0b 0c 15 28 3c 7f 80 ff 0080 00ff 0001 0100"
NUMBERS = tuple(
    map(
        bytes.fromhex,
        (
            *_SMALL.split(),
            "7f" * 20,
            "ff" * 20,
            "00" + "ff" * 20,
            "01" + "00" * 20,
            "7f" * 250,
            "",
        ),
    )
)

_UTC = "260615120000Z 260615120001Z 260615115959Z 260615130000Z 260616120000Z 250101000000Z"
_ODD_UTC = "2606151200Z 260615120000 260615120000+0200 261332000000Z 490101000000Z 500101000000Z"
_LONG = "20260615120000Z 20260615120001Z 20260615120400Z 20260615125959Z 20260615110000Z"
_ODD_LONG = "20260615120000.5Z 20510101000000Z 99991231235959Z 20260231000000Z"
TIMES = (
    *((0x17, text.encode()) for text in f"{_UTC} {_ODD_UTC}".split()),
    *((0x18, text.encode()) for text in f"{_LONG} {_ODD_LONG} 20200101000000Z".split()),
    (0x17, b""),
    (0x18, b"rubbish"),
)

_TEXTS = (
    text.encode()
    for text in (
        "",
        " ",
        "899900000011",
        "8999000000117",
        "00B6000033",
        "30B0000044/CPET0004",
        "not a number",
        "Éloïse",
        " Camille ",
        "MARTIN\x07",
        "MARTIN\u202e",
        "MARTIN\u200b",
        "LE\u00a0GALL",
        "a\x00b",
        "\U0001f3e5",
        "x" * 65,
        "x" * 600,
        "8025000001/2900090001",
        "8025000001/é",
        "http://igc-sante.invalid/CRL/ACI-ST-PP.crl",
        "http://igc-sante.invalid/CRL/ACI-FO-PP.crl",
        "FICTIVE AC IGC-SANTE FORT PERSONNES",
        "SM26",
    )
)
TEXTS = (*_TEXTS, b"\xc9lo\xefse", b"\x00M\x00a", b"\xff\xfe", b"\xed\xa0\x80")

_URL = tlv(0x86, b"http://igc-sante.invalid/CRL/ACI-FO-PP.crl")
_OTHER_URL = tlv(0x86, b"http://igc-sante.invalid/CRL/ACI-ST-PP.crl")
_NAME = _sequence(tlv(0x31, _sequence(_oid("2.5.4.3"), tlv(0x0C, b"somebody"))))
_RELATIVE = tlv(0xA1, _sequence(_oid("2.5.4.3"), tlv(0x0C, b"part 2")))


def _usages(*dotted: str) -> bytes:
    return extension("2.5.29.37", _sequence(*map(_oid, dotted)))


def _policies(*dotted: str) -> bytes:
    return extension("2.5.29.32", _sequence(*(_sequence(_oid(policy)) for policy in dotted)))


def _points(*parts: bytes) -> bytes:
    return extension("2.5.29.31", _sequence(_sequence(*parts)))


_COMMON = (
    extension("1.2.3.4", b"\x05\x00", critical=True),
    extension("1.2.3.4", b"\x05\x00"),
    extension("1.2.3.4", bytes(5000)),
    extension("2.5.29.35", _sequence(tlv(0x80, bytes(20)))),
    extension("2.5.29.35", _sequence()),
    extension("2.5.29.35", _sequence(tlv(0xA1, tlv(0xA4, _NAME)), tlv(0x82, b"\x07"))),
    extension("2.5.29.14", tlv(0x04, bytes(20))),
)

_CONSTRAINTS = (
    *(
        extension("2.5.29.19", bytes.fromhex(value), critical=critical)
        for value in ("3000", "30030101ff", "3003010100", "30060101ff020100", "30060101ff020105")
        for critical in (True, False)
    ),
    extension("2.5.29.30", _sequence(tlv(0xA0, _sequence(tlv(0x82, b"x")))), critical=True),
    extension("2.5.29.30", _sequence(tlv(0xA0, _sequence(tlv(0x82, b"x"))))),
    extension("2.5.29.36", bytes.fromhex("3003800100"), critical=True),
    extension("2.5.29.36", bytes.fromhex("3003800100")),
    extension("2.5.29.54", bytes.fromhex("020100"), critical=True),
    extension("2.5.29.33", _sequence(_sequence(_oid("1.2.3"), _oid("1.2.4")))),
)

CERTIFICATE_EXTENSIONS = (
    *_COMMON,
    *_CONSTRAINTS,
    *(
        extension("2.5.29.15", bytes.fromhex("0302" + value), critical=critical)
        for value in ("0780", "0640", "06c0", "0520", "0204", "0102", "0106", "0780", "0186")
        for critical in (True, False)
    ),
    _usages(f"{USAGES}.2"),
    _usages(f"{USAGES}.1"),
    _usages(f"{USAGES}.4"),
    _usages(f"{USAGES}.9"),
    _usages("2.5.29.37.0"),
    _usages(f"{USAGES}.2", "2.5.29.37.0", f"{USAGES}.9"),
    _usages(),
    _policies("1.2.3.4"),
    _policies("2.5.29.32.0"),
    _policies("1.2.250.1.213.1.7.2.1"),
    _policies("1.2.250.1.213.1.7", "1.2.3.4"),
    _policies("1.2.250.1.213.1.7", "1.2.250.1.213.1.7"),
    _policies("1.3.6.1.4.1.10015.1.3"),
    _policies(),
    *(extension(f"{ANS}.1.2.5", tlv(0x04, bytes([kind]))) for kind in (0, 1, 2, 3, 4, 128, 131)),
    extension(f"{ANS}.1.2.5", tlv(0x04, b"\x00\x00")),
    extension(f"{ANS}.1.2.5", b""),
    *(extension(f"{ANS}.1.2.2", tlv(0x02, bytes([kind]))) for kind in (0, 1, 2, 3, 4, 255)),
    *(extension(f"{ANS}.1.2.7", tlv(0x02, bytes([code]))) for code in (10, 21, 60, 126)),
    extension(f"{ANS}.1.2.7", tlv(0x02, b"\x01\x00")),
    extension(f"{ANS}.1.2.8", tlv(0x02, b"\x0a")),
    extension(f"{ANS}.1.2.8", tlv(0x0C, b"x")),
    extension(f"{ANS}.1.2.3", tlv(0x13, b"8025000001/1")),
    extension(f"{ANS}.1.2.3", tlv(0x13, b"a\nb")),
    extension(f"{ANS}.4.2.5", _sequence(tlv(0x0C, b"SM26"), tlv(0x0C, b"SM05"))),
    extension(f"{ANS}.4.2.5", _sequence()),
    _points(tlv(0xA0, tlv(0xA0, _OTHER_URL))),
    _points(tlv(0xA0, tlv(0xA0, _URL)), tlv(0x81, b"\x06\x40")),
    _points(tlv(0xA2, tlv(0xA4, _NAME))),
    _points(tlv(0xA0, _RELATIVE)),
    extension("1.3.6.1.5.5.7.48.1.5", b"\x05\x00"),
    extension("2.5.29.17", _sequence(tlv(0x82, b"x"))),
)


def _issuing_point(*parts: bytes) -> bytes:
    return extension("2.5.29.28", _sequence(*parts), critical=True)


LIST_EXTENSIONS = (
    *_COMMON,
    *(extension("2.5.29.27", tlv(0x02, bytes([base])), critical=True) for base in (0, 1, 5, 10)),
    extension("2.5.29.27", tlv(0x02, b"\x01")),
    *(extension("2.5.29.20", tlv(0x02, number)) for number in NUMBERS),
    *(_issuing_point(tlv(tag, b"\xff")) for tag in (0x81, 0x82, 0x84, 0x85)),
    *(_issuing_point(tlv(0xA0, tlv(0xA0, url))) for url in (_URL, _OTHER_URL)),
    _issuing_point(tlv(0xA0, tlv(0xA0, _URL)), tlv(0x81, b"\xff")),
    _issuing_point(tlv(0x83, b"\x06\x40")),
    _issuing_point(tlv(0xA0, _RELATIVE)),
    _issuing_point(),
    extension("2.5.29.46", _sequence(_sequence(tlv(0xA0, tlv(0xA0, _URL))))),
    *(extension("2.5.29.21", tlv(0x0A, bytes([reason]))) for reason in range(12)),
    extension("2.5.29.21", tlv(0x0A, b"\x08"), critical=True),
    extension("2.5.29.24", tlv(0x18, b"20260101000000Z")),
    extension("2.5.29.29", _sequence(tlv(0xA4, _NAME)), critical=True),
    extension("2.5.29.29", _sequence(tlv(0xA4, _NAME))),
)

ANSWER_EXTENSIONS = (
    *_COMMON,
    extension("1.3.6.1.5.5.7.48.1.2", tlv(0x04, bytes(32))),
    extension("1.3.6.1.5.5.7.48.1.2", bytes(8)),
    extension("1.3.6.1.5.5.7.48.1.2", tlv(0x04, bytes(range(32))), critical=True),
    extension("1.3.6.1.5.5.7.48.1.6", tlv(0x18, b"20200101000000Z")),
    extension("1.3.6.1.5.5.7.48.1.5", b"\x05\x00"),
    _usages(f"{USAGES}.9"),
    _usages(f"{USAGES}.2"),
    extension("2.5.29.15", bytes.fromhex("03020780"), critical=True),
    extension("2.5.29.15", bytes.fromhex("03020520"), critical=True),
    *_CONSTRAINTS[:4],
)
