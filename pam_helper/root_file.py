"""Small files of root's that are replaced whole: the old content or the new one, never half."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from cps_auth.errors import ConfigurationError


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a whole new file in the old one's place, on disk before it is seen.

    Args:
        path: the file; its folder exists.
        content: all of it.
        mode: permission bits.

    Raises:
        ConfigurationError: it cannot be written; the old one is there, as it was.
    """
    new: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            new = Path(file.name)
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    finally:
        if new is not None:
            with contextlib.suppress(OSError):
                new.unlink()
