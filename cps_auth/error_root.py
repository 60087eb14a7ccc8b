"""The root of the tree of errors, and how its classes are made; see `cps_auth.errors`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(eq_default=False)
class CpsAuthError(Exception):
    """Root of the tree; never raised itself. `code` is stable: for logs, JSON and scripts."""

    code: ClassVar[str] = "error"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(eq=False)(cls)  # each leaf's annotations are its data

    def data(self) -> dict[str, object]:
        """Return what the exception knows, ready for a log line or JSON."""
        return {name: getattr(self, name) for name in getattr(self, "__dataclass_fields__", ())}

    def __str__(self) -> str:
        return ", ".join([self.code, *(f"{name}={value}" for name, value in self.data().items())])


def leaves(root: type[CpsAuthError] = CpsAuthError) -> tuple[type[CpsAuthError], ...]:
    """Return every class of the tree that can be raised, in a stable order."""
    below = root.__subclasses__()
    return tuple(leaf for cls in below for leaf in leaves(cls)) if below else (root,)
