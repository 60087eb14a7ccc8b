"""The files of a card, as data: what the APDU engine serves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hardware_mocks.card.ber import tlv

MASTER_FILE = 0x3F00
ALWAYS = 0x00  # security condition bytes, IAS-ECC
NEVER = 0xFF
USER_PIN = 0x11  # user authentication, security environment 1: the code porteur

# Access mode bits of an EF (ISO/IEC 7816-4:2013 table 23) and of a key (IAS-ECC).
READ = 0x01
UPDATE = 0x02
DECIPHER = 0x10
INTERNAL_AUTHENTICATE = 0x20
SIGN = 0x40


@dataclass(frozen=True, slots=True)
class AccessRules:
    """An access mode byte and its security condition bytes, compact format (7816-4 5.4.3.2)."""

    access_mode: int
    conditions: bytes  # one per bit set in access_mode below bit 8, highest bit first

    def encoded(self) -> bytes:
        """Return the bytes of the card: AM, then SCBs."""
        return bytes([self.access_mode]) + self.conditions

    def condition(self, operation: int) -> int:
        """Return the security condition byte of an access mode bit; NEVER if it has none."""
        described = [bit for bit in (0x40, 0x20, 0x10, 8, 4, 2, 1) if self.access_mode & bit]
        return dict(zip(described, self.conditions, strict=True)).get(operation, NEVER)


def file_rules(*, read: int = ALWAYS, update: int = NEVER) -> AccessRules:
    """Return the rules of a CPS3 file: only reading and, rarely, updating are ever allowed."""
    return AccessRules(0x7B, bytes([NEVER, NEVER, NEVER, NEVER, update, read]))


@dataclass(slots=True, eq=False)
class ElementaryFile:
    """A transparent EF."""

    fid: int
    content: bytearray
    sfi: int | None = None  # short file identifier, 1 to 30
    rules: AccessRules = field(default_factory=file_rules)
    contactless_rules: AccessRules = field(default_factory=file_rules)

    def control_parameters(self) -> bytes:
        """Return the content of its FCP, in the order of a real CPS3 (facts, section 4)."""
        return b"".join(
            (
                tlv(0x80, len(self.content).to_bytes(2)),
                tlv(0x82, b"\x01"),
                tlv(0x83, self.fid.to_bytes(2)),
                tlv(0x88, b"" if self.sfi is None else bytes([self.sfi << 3])),
                _access_control(self.rules, self.contactless_rules),
                tlv(0x8A, b"\x05"),  # life cycle: operational, activated
            )
        )


@dataclass(slots=True, eq=False)
class DedicatedFile:
    """A DF; the master file is the one with FID 3F00."""

    fid: int
    aid: bytes = b""
    children: list[DedicatedFile | ElementaryFile] = field(default_factory=list)
    takes_fci_by_aid: bool = True  # whether SELECT by AID with P2=00 is allowed
    rules: AccessRules = field(default_factory=file_rules)
    contactless_rules: AccessRules = field(default_factory=file_rules)

    def control_parameters(self) -> bytes:
        """Return the content of its FCP. Inferred: no real one has been published."""
        return b"".join(
            (
                tlv(0x82, b"\x38"),
                tlv(0x83, self.fid.to_bytes(2)),
                tlv(0x84, self.aid) if self.aid else b"",
                _access_control(self.rules, self.contactless_rules),
                tlv(0x8A, b"\x05"),
            )
        )

    def child(self, fid: int) -> DedicatedFile | ElementaryFile | None:
        """Return the file directly below with this identifier."""
        return next((file for file in self.children if file.fid == fid), None)

    def file_with_sfi(self, sfi: int) -> ElementaryFile | None:
        """Return the EF directly below with this short identifier."""
        elementary = (file for file in self.children if isinstance(file, ElementaryFile))
        return next((file for file in elementary if file.sfi == sfi), None)

    def directories(self) -> Iterator[DedicatedFile]:
        """Yield this DF and every DF below it."""
        yield self
        for file in self.children:
            if isinstance(file, DedicatedFile):
                yield from file.directories()

    def parent_of(self, file: DedicatedFile | ElementaryFile) -> DedicatedFile:
        """Return the DF below which `file` is, in the tree of this one; itself if it is the top."""
        return next((df for df in self.directories() if file in df.children), self)


def _access_control(contact: AccessRules, contactless: AccessRules) -> bytes:
    return tlv(0xA1, tlv(0x8C, contact.encoded()), tlv(0x9C, contactless.encoded()))
