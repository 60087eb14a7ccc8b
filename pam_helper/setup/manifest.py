"""What `install` wrote, so that `uninstall` takes exactly that away: a small file of root's.

It is written before anything changes, so an installation that was interrupted can be undone, too:
a file may then hold what we wrote before, or what we were about to write.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from cps_auth.errors import ConfigurationError
from cps_auth.files import read_protected, write_protected

PLACE = "/var/lib/cps-auth/installed.json"
_MAX_BYTES = 256 * 1024


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What is ours on a system. Places are absolute, below its root folder."""

    files: dict[str, tuple[str, ...]] = {}  # place: SHA-256 of what we wrote, hexadecimal
    folders: tuple[str, ...] = ()  # that we made, outermost first
    profile: bool = False  # whether pam-auth-update(8) was asked to use ours

    def wrote(self, place: str, content: bytes) -> bool:
        """Whether this is what we wrote there."""
        return sha256_hex(content) in self.files.get(place, ())


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of a file's content, lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_manifest(root: Path) -> Manifest:
    """Return what is ours below a root folder; nothing where nothing was installed.

    Raises:
        ConfigurationError: it is there and cannot be believed.
    """
    path = root / PLACE[1:]
    try:
        return msgspec.json.decode(read_protected(path, _MAX_BYTES), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Replace it; its folder exists.

    Raises:
        ConfigurationError
    """
    write_protected(root / PLACE[1:], msgspec.json.encode(manifest))
