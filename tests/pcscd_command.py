"""The command that starts a pcscd of one's own, with vpcd's two readers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
_SYSTEM_FOLDER = Path("/run/pcscd")  # compiled into pcscd; hidden by a bind mount of our own
_SCRIPT = 'mount --bind "$1" "$2" && shift 2 && exec pcscd --foreground "$@"'


def pcscd_command(folder: Path, port: int, names: Sequence[bytes] = (b"Virtual PCD",)) -> list[str]:
    """Return a command whose pcscd keeps all that it has in a folder; its mounts end with it.

    Args:
        folder: for the socket and the configuration, which is written here.
        port: of the first of vpcd's readers; each has two slots, at successive ports.
        names: of the readers.
    """
    _SYSTEM_FOLDER.mkdir(exist_ok=True)
    configuration = folder / "reader.conf"
    configuration.write_bytes(
        b"".join(
            b'FRIENDLYNAME "%s"\nDEVICENAME /dev/null:0x%X\nLIBPATH %s\nCHANNELID 0x%X\n'
            % (name, port + 2 * number, bytes(_DRIVER), port + 2 * number)
            for number, name in enumerate(names)
        )
    )
    where = (str(folder), str(_SYSTEM_FOLDER), "--config", str(configuration))
    return ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", *where, *_without_polkit()]


@cache
def _without_polkit() -> tuple[str, ...]:
    """Return what lets in whoever reaches the socket: Debian 13's pcscd would ask polkit."""
    known = subprocess.run(["pcscd", "--help"], capture_output=True, text=True, check=False)
    option = "--disable-polkit"
    return (option,) if option in known.stdout + known.stderr else ()
