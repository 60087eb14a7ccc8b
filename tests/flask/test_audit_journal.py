"""The audit journal of an application: what a login, a refusal and an end leave in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from cps_auth.audit.handler import LOGGER_NAME, JournalHandler
from cps_auth.audit.verify import read_lines, verify_journal
from tests.flask.conftest import MakeApp, Visitor
from webdemo.desk import VirtualDesk


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a journal, whose handler goes with the test."""
    yield tmp_path / "audit"
    logger = logging.getLogger(LOGGER_NAME)
    for handler in logger.handlers[:]:
        if isinstance(handler, JournalHandler) and handler.journal.folder == tmp_path / "audit":
            logger.removeHandler(handler)


def test_a_refusal_and_a_login_are_in_the_journal(
    folder: Path, desk: VirtualDesk, make_app: MakeApp, visit: Callable[[Flask], Visitor]
) -> None:
    """In their order, with who, which card and which evidence, and without the PIN."""
    config = {"CPS_AUDIT_FOLDER": folder}
    app, _ = make_app("one", config), make_app("two", config)  # one journal, one handler
    desk.insert("doctor")
    visitor = visit(app)
    visitor.log_in("7351")
    visitor.log_in()
    (handler,) = (
        handler
        for handler in logging.getLogger(LOGGER_NAME).handlers
        if isinstance(handler, JournalHandler) and handler.journal.folder == folder
    )
    assert handler.journal.flush(10)
    refused, accepted = (line.entry for line in read_lines(folder))
    assert (refused.event, refused.outcome, refused.peer) == (
        "login-refused",
        "wrong-pin",
        "127.0.0.1",
    )
    assert (accepted.event, accepted.method, accepted.surface) == ("login", "local-reader", "web")
    assert accepted.holder
    assert accepted.card
    assert len(accepted.certificate or "") == 64
    assert [one.source for one in accepted.evidence] == ["crl", "crl"]
    assert not verify_journal(folder).faults
    content = b"".join(path.read_bytes() for path in folder.glob("*.jsonl"))
    assert b'"7351' not in content
    assert b"7351 " not in content
