"""Status words that the virtual cards answer (ISO/IEC 7816-4:2013 section 5.6)."""

from __future__ import annotations

OK = 0x9000
MORE_DATA = 0x6100  # T=0: SW2 bytes wait for GET RESPONSE, 00 for 256 or more
WRONG_LE = 0x6C00  # T=0: SW2 is the Le to use
ATTEMPTS_LEFT = 0x63C0  # low digit: attempts left
MEMORY_FAILURE = 0x6581
WRONG_LENGTH = 0x6700
CHAINING_NOT_SUPPORTED = 0x6884
SECURITY_NOT_SATISFIED = 0x6982
METHOD_BLOCKED = 0x6983
CONDITIONS_NOT_SATISFIED = 0x6985
NO_CURRENT_EF = 0x6986
WRONG_DATA = 0x6A80
FILE_NOT_FOUND = 0x6A82
WRONG_P1P2 = 0x6A86
REFERENCE_NOT_FOUND = 0x6A88
OFFSET_OUTSIDE = 0x6B00
UNKNOWN_INS = 0x6D00
UNKNOWN_CLA = 0x6E00


class Refusal(Exception):
    """A command ends with this status word and no data. Never leaves the APDU engine."""

    def __init__(self, status_word: int) -> None:
        super().__init__(f"{status_word:04X}")
        self.status_word = status_word
