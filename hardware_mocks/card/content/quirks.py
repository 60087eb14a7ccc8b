"""Ways in which a card may differ from the ones that were seen, and still be within its rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from hardware_mocks.card.content.pkcs15 import (
    USAGE_NON_REPUDIATION,
    USAGE_SIGN,
    USAGE_SIGN_RECOVER,
    KeyEntry,
)

_OTHER_CERTIFICATE_FID = 0xB012


@dataclass(frozen=True, slots=True)
class Quirks:
    """The quirks of one card.

    Attributes:
        most_read: bytes that READ BINARY answers at most, with 9000, whatever was asked.
        serial_does_not_check: the check digit of EF.SN is wrong.
        signature_key_signs: the usage of the signature key says "sign" alone.
        authentication_usage: bit numbers of the authentication key's usage, in place of its own.
        other_certificate_der: a second certificate of the authentication key, as after a renewal.
        has_no_pin_object: GET DATA is not known, so no counter can be read by it.
        refuses_pss: at the signature; only a CPS4 has PSS.
        forgets_pin_with_it: a refused PSS signature ends the PIN's verification, too.
        says_63c0_for_blocked: in place of 6983.
        says_verified: an empty VERIFY answers 9000 once the PIN was presented.
    """

    most_read: int | None = None
    serial_does_not_check: bool = False
    signature_key_signs: bool = False
    authentication_usage: tuple[int, ...] | None = None
    other_certificate_der: bytes | None = field(default=None, repr=False)
    has_no_pin_object: bool = False
    refuses_pss: bool = False
    forgets_pin_with_it: bool = False
    says_63c0_for_blocked: bool = False
    says_verified: bool | None = None

    def entries(self, keys: tuple[KeyEntry, KeyEntry]) -> tuple[KeyEntry, ...]:
        """Return the PrKDF's entries of the signature and the authentication key."""
        signature, authentication = keys
        if self.signature_key_signs:
            signature = replace(signature, usage=(USAGE_SIGN,))
        if self.authentication_usage is not None:
            authentication = replace(authentication, usage=self.authentication_usage)
        return signature, authentication

    def certificate_entries(self, keys: tuple[KeyEntry, KeyEntry]) -> tuple[KeyEntry, ...]:
        """Return the CDF's entries: the other certificate comes last."""
        if self.other_certificate_der is None:
            return keys
        return *keys, replace(keys[1], certificate_fid=_OTHER_CERTIFICATE_FID)

    def files(self) -> Mapping[int, bytes]:
        """Return the files that a card has more, by identifier."""
        other = self.other_certificate_der
        return {} if other is None else {_OTHER_CERTIFICATE_FID: other}


NO_QUIRKS = Quirks()

_READERS: Mapping[str, Callable[[Quirks, str], Quirks]] = {
    "short-reads": lambda quirks, text: replace(quirks, most_read=int(text or "80")),
    "serial-check": lambda quirks, _: replace(quirks, serial_does_not_check=True),
    "signature-key-signs": lambda quirks, _: replace(quirks, signature_key_signs=True),
    "authentication-nonrepudiation": lambda quirks, _: replace(
        quirks, authentication_usage=(USAGE_SIGN, USAGE_NON_REPUDIATION)
    ),
    "authentication-sign-recover": lambda quirks, _: replace(
        quirks, authentication_usage=(USAGE_SIGN_RECOVER,)
    ),
    "no-pin-object": lambda quirks, _: replace(quirks, has_no_pin_object=True),
    "refuses-pss": lambda quirks, _: replace(quirks, refuses_pss=True),
    "refuses-pss-forgets-pin": lambda quirks, _: replace(
        quirks, refuses_pss=True, forgets_pin_with_it=True
    ),
    "63c0": lambda quirks, _: replace(quirks, says_63c0_for_blocked=True),
    "says-verified": lambda quirks, _: replace(quirks, says_verified=True),
}
QUIRK_NAMES = tuple(_READERS)
"""What `parse_quirks` knows; `short-reads` takes a number of bytes after `=`."""


def parse_quirks(texts: list[str]) -> Quirks:
    """Return the quirks of these names, such as `short-reads=80`.

    Raises:
        ValueError: one is not known; says which there are.
    """
    quirks = NO_QUIRKS
    for text in texts:
        name, _, value = text.partition("=")
        if name not in _READERS:
            raise ValueError(f"no quirk {name!r}; there are {', '.join(QUIRK_NAMES)}")
        quirks = _READERS[name](quirks, value)
    return quirks
