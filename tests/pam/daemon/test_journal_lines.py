"""What reaches journald: a socket stands in for it, and reads as its native protocol says."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pam_helper.daemon.systemd import JournalHandler

CabinetPc = Any  # the fixture's class lives in conftest.py, which is no module to import
WITHIN_S = 10.0
CRIT, WARNING, INFO = "2", "4", "6"
"""Priorities of syslog(3); `journalctl -p crit` shows 0 to 2."""


class Journald:
    """The receiving side; one datagram is one line with its fields."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(WITHIN_S)

    def line(self, containing: str) -> dict[str, str]:
        """Return the fields of the next line whose message contains a text."""
        while True:
            fields = self._next()
            if containing in fields["MESSAGE"]:
                return fields

    def _next(self) -> dict[str, str]:
        rest, fields = self._socket.recv(65536), {}
        while rest:
            name, _, rest = rest.partition(b"\n")
            (length,) = struct.unpack("<Q", rest[:8])
            value, end, rest = (
                rest[8 : 8 + length],
                rest[8 + length : 9 + length],
                rest[9 + length :],
            )
            assert end == b"\n"
            fields[name.decode()] = value.decode()
        return fields

    def close(self) -> None:
        """Receive no more."""
        self._socket.close()


@pytest.fixture
def journald(pc_folder: Path) -> Iterator[Journald]:
    """A journald that gets what the daemon logs."""
    journald = Journald(pc_folder / "journal")
    handler, root = JournalHandler(str(pc_folder / "journal")), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield journald
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
        handler.close()
        journald.close()


def test_a_one_time_code_that_is_used_is_critical(journald: Journald, pc: CabinetPc) -> None:
    """`journalctl -p crit` shows it, with account and service as fields, and without the code."""
    code = pc.codes.issue("root", timedelta(hours=1), at=datetime.now(UTC))
    typed = code.replace("-", "").encode()
    assert pc.ask("code", pin=typed, service="gdm-password")["result"] == "PAM_SUCCESS"
    line = journald.line("ONE-TIME CODE USED")
    assert line["PRIORITY"] == CRIT
    assert (line["CPS_ACCOUNT"], line["CPS_SERVICE"]) == ("root", "gdm-password")
    assert line["LOGGER"] == "pam_helper.daemon.authority"
    audit = journald.line("outcome=code-accepted")
    assert audit["PRIORITY"] == INFO
    assert audit["CPS_UID"] == str(os.getuid()), "root's, which is zero, too"
    assert not any(code in value or typed.decode() in value for value in line.values())


def test_every_field_has_a_name_that_the_journal_takes(journald: Journald, pc: CabinetPc) -> None:
    """Others are dropped by journald: capitals, digits and underscores, no underscore first."""
    pc.insert("doctor")
    assert pc.ask("verify", pin=b"9999")["code"] == "wrong-pin"
    line = journald.line("outcome=wrong-pin")
    assert line["PRIORITY"] == WARNING
    for name in line:
        assert name.isascii()
        assert name.replace("_", "").isalnum()
        assert name == name.upper()
        assert name[0].isalpha()
    assert {"CPS_UID", "CPS_PID", "CPS_ACCOUNT", "CPS_OUTCOME"} <= line.keys(), line
