"""The tree of errors without its leaves: what is caught and never raised; see `cps_auth.errors`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(eq_default=False)
class CpsAuthError(Exception):
    """Root of the tree; never raised itself. `code` is stable: for logs, JSON and scripts."""

    code: ClassVar[str] = "error"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__annotations__" in cls.__dict__:  # a leaf's annotations are its data
            dataclass(eq=False)(cls)

    def data(self) -> dict[str, object]:
        """Return what the exception knows, ready for a log line or JSON."""
        return {name: getattr(self, name) for name in getattr(self, "__dataclass_fields__", ())}

    def __str__(self) -> str:
        return ", ".join([self.code, *(f"{name}={value}" for name, value in self.data().items())])


class CardUnavailable(CpsAuthError):
    """The person can act on the hardware."""


class ReaderServiceUnavailable(CardUnavailable):
    """The PC/SC service tells nothing of readers and cards."""

    reason: str = ""  # what the service or the system said, for the log


class PinRefused(CpsAuthError):
    """About the code porteur."""


class CertificateRefused(CpsAuthError):
    """About the card's authentication certificate."""

    sha256_hex: str  # SHA-256 of the certificate as it was read, lower-case hexadecimal


class ProofRefused(CpsAuthError):
    """The signature does not prove what it should."""


class RequestRefused(CpsAuthError):
    """The program that asks may not ask this, or not so often."""


class InstallationError(CpsAuthError):
    """For the administrator or the programmer."""


def leaves(root: type[CpsAuthError] = CpsAuthError) -> tuple[type[CpsAuthError], ...]:
    """Return every class of the tree that can be raised, in a stable order."""
    below = root.__subclasses__()
    return tuple(leaf for cls in below for leaf in leaves(cls)) if below else (root,)
