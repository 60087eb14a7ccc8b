"""How a family of cards speaks: what differs between IAS-ECC (CPS3) and ChipDoc (CPS4), as data.

Source of the values: what ANS's own module (cps3_pkcs11 5.2) sends to each.
"""

from __future__ import annotations

from dataclasses import dataclass

from cps_auth.card.native.apdu import Command

MF = bytes.fromhex("3F00")

_SELECT = 0xA4  # ISO/IEC 7816-4:2005 section 7.1.1
_BY_AID, _RETURN_NOTHING = 0x04, 0x0C


@dataclass(frozen=True, slots=True)
class Dialect:
    """One family's class byte and its ways of SELECT."""

    cla: int
    path_p1: int  # P1 of SELECT by path
    paths_start_at_mf: bool  # whether the path in the command begins with 3F00
    template_p2: int  # P2 of SELECT that asks for the file's control parameters
    template_tag: int  # of what comes back: 62 FCP, 6F FCI (ISO/IEC 7816-4:2005 section 5.3.3)
    application: Command  # SELECT of the card's application
    is_selected_first: bool  # whether nothing works before `application`
    recovery: tuple[Command, ...] = ()  # what comes before `application` when it was refused

    def select(self, path: bytes) -> Command:
        """Return the SELECT of a path that wants no data back.

        Args:
            path: from the MF, 3F00 included.
        """
        return Command(self.cla, _SELECT, self.path_p1, _RETURN_NOTHING, self._written(path))

    def describe(self, path: bytes) -> Command:
        """Return the SELECT of a path that asks for the file's control parameters.

        Args:
            path: from the MF, 3F00 included.
        """
        written = self._written(path)
        return Command(self.cla, _SELECT, self.path_p1, self.template_p2, written, le=256)

    def _written(self, path: bytes) -> bytes:
        return path if self.paths_start_at_mf or path == MF else path.removeprefix(MF)


def _by_aid(cla: int, p2: int, aid_hex: str) -> Command:
    return Command(cla, _SELECT, _BY_AID, p2, bytes.fromhex(aid_hex))


IAS_ECC = Dialect(
    cla=0x00,
    path_p1=0x09,  # "from the current DF", and yet the cards want 3F00 in front
    paths_start_at_mf=True,
    template_p2=0x04,
    template_tag=0x62,
    application=_by_aid(0x00, 0x04, "80250000 01FF0100"),  # the module's way out of 6E00
    is_selected_first=False,
)

CHIPDOC = Dialect(
    cla=0x01,  # logical channel 1, for everything, never opened
    path_p1=0x08,
    paths_start_at_mf=False,
    template_p2=0x00,
    template_tag=0x6F,
    application=_by_aid(0x01, _RETURN_NOTHING, "80250000 01FF0100"),
    is_selected_first=True,
    recovery=(
        _by_aid(0x01, _RETURN_NOTHING, "A0000001510000"),  # GlobalPlatform card manager
        _by_aid(0x00, _RETURN_NOTHING, "80250000 01FF0002"),  # CPS2ter application
    ),
)
