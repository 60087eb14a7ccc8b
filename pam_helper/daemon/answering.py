"""One connection: reads the request, has it decided, answers, and leaves one audit line."""

from __future__ import annotations

import logging
import socket
import struct
import textwrap
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from cps_auth.errors import (
    CardBusy,
    CpsAuthError,
    HolderNotAllowed,
    LastAttempt,
    PeerNotAllowed,
    PinEntryCancelled,
    RequestRefused,
)
from cps_auth.pin_entry import wipe
from cps_auth.wording import explain, pin_prompt, translations
from pam_helper.daemon.authority import Authority, Peer, Trace
from pam_helper.daemon.pam_results import PAM_RESULTS
from pam_helper.daemon.protocol import (
    ALIVE,
    CODE_CHARACTERS,
    PIN_DIGITS,
    VERIFIED,
    Inbox,
    Reply,
    Request,
    encode_reply,
)

READ_WITHIN_S = 5.0
"""A client has everything in hand when it connects: the PIN was typed before."""
WRITE_WITHIN_S = 2.0
COLUMNS = 96
"""Of a line to show: xsecurelock breaks none, and a screen of 1024 pixels holds so many letters."""


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_LAST_ATTEMPT = _(
    "This last attempt cannot be used here: log in another way, then type"
    ' "cps-auth login --use-last-attempt", or unblock the card.'
)
_CODE_PROMPT = _("One-time code:")
_CODE_USED = _("One-time code used; {count} left. The person who looks after this PC is told.")
_CODE_REFUSED = _("This one-time code is not valid, or was used before.")
_NOBODY_TO_TELL = "account-not-enrolled"
"""An account without any card: its owner is asked for a password as if we were not there."""

_log = logging.getLogger(__name__)
_audit = logging.getLogger("cps_auth.audit")


@dataclass(slots=True)
class _Case:
    """One connection, and what becomes known of it for its audit line. Answered once."""

    connection: socket.socket
    peer: Peer
    clock: Callable[[], datetime]
    language: str
    request: Request | None = None
    trace: Trace = field(default_factory=Trace)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _is_answered: bool = False

    def answer(self, reply: Reply, detail: str = "") -> None:
        """Log the outcome and answer, unless that was done before."""
        with self._mutex:
            if self._is_answered:
                return
            self._is_answered = True
        _log_outcome(self, reply, detail, self.clock())
        _send(self.connection, reply)

    def answer_overdue(self) -> None:
        """Refuse in place of the thread that is at work, and hang up: it may never come back."""
        late = CardBusy()
        self.answer(refusal(late, self.language), str(late))
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end, as the kernel says (unix(7), SO_PEERCRED).

    Raises:
        PeerNotAllowed: the kernel does not say.
    """
    layout = struct.Struct("3i")
    try:
        unverified = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
        pid, uid, _ = layout.unpack(unverified)
    except (OSError, struct.error):
        raise PeerNotAllowed from None
    return Peer(pid, uid)


def answer(connection: socket.socket, peer: Peer, authority: Authority, language: str) -> None:
    """Serve one connection. Never raises; the connection is closed by its owner.

    Args:
        connection: just accepted.
        peer: who is at the other end.
        authority: decides.
        language: of the lines to show, "fr" or "en".
    """
    case = _Case(connection, peer, authority.clock, language)
    inbox = Inbox.of(connection, READ_WITHIN_S)
    try:
        reply = _decide(inbox, case, authority)
    except CpsAuthError as error:
        case.answer(refusal(error, language), str(error))
    except Exception as error:
        # Its message could quote anything that was being worked on, so it is not logged.
        case.answer(Reply("PAM_SYSTEM_ERR", "unforeseen"), type(error).__name__)
    else:
        case.answer(reply)
    finally:
        wipe(inbox.buffer)


def _decide(inbox: Inbox, case: _Case, authority: Authority) -> Reply:
    case.request = request = inbox.request()
    match request.verb:
        case "probe":
            inbox.nothing_more()
            return _probe(request, case, authority)
        case "hello":
            inbox.nothing_more()
            _send(inbox.connection, ALIVE)
            return _probe(request, case, authority)
        case "verify":
            return _verify(request, inbox, case, authority)
        case "code":
            return _use_code(request, inbox, case, authority)
        case "ping":
            inbox.nothing_more()
            return ALIVE


def _probe(request: Request, case: _Case, authority: Authority) -> Reply:
    language = case.language
    try:
        left = authority.probe(request, case.peer, case.trace, case.answer_overdue)
    except RequestRefused:
        raise
    except CpsAuthError as error:
        if not authority.offers_code(request):
            raise
        told = refusal(error, language)
        prompt = translations(language).gettext(_CODE_PROMPT)
        return replace(told, lines=(*told.lines, prompt), next="code")
    return Reply("PAM_SUCCESS", "usable", (pin_prompt(left, language).strip(),), left, "pin")


def _verify(request: Request, inbox: Inbox, case: _Case, authority: Authority) -> Reply:
    authority.count_verify(request, case.peer)
    pin = bytearray(PIN_DIGITS)
    try:
        inbox.pin_into(pin)
        wipe(inbox.buffer)  # this request may take long
        authority.verify(
            request, pin, case.trace, lambda: _is_there(inbox.connection), case.answer_overdue
        )
    finally:
        wipe(pin)
    return VERIFIED


def _use_code(request: Request, inbox: Inbox, case: _Case, authority: Authority) -> Reply:
    authority.count_code(request, case.peer)
    tr = translations(case.language)
    code = bytearray(CODE_CHARACTERS)
    try:
        inbox.code_into(code)
        if not _is_there(inbox.connection):
            raise PinEntryCancelled
        left = authority.use_code(request, code)
    finally:
        wipe(code)
    if left is None:
        return Reply("PAM_AUTH_ERR", "code-refused", (tr.gettext(_CODE_REFUSED),))
    used = tr.gettext(_CODE_USED).format(count=left)
    return Reply("PAM_SUCCESS", "code-accepted", _fitting([used]))


def _is_there(connection: socket.socket) -> bool:
    """Whether the client waits for its answer: it has neither closed its side nor sent more."""
    try:
        connection.settimeout(0)
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def refusal(error: CpsAuthError, language: str) -> Reply:
    """Return what is answered for an error.

    Args:
        error: any leaf.
        language: of the lines to show, "fr" or "en".
    """
    words = explain(error, language)
    lines = [words.happened, words.attempts, words.to_do]
    if isinstance(error, LastAttempt):
        lines = [words.happened, translations(language).gettext(_LAST_ATTEMPT)]
    if isinstance(error, HolderNotAllowed) and error.reason == _NOBODY_TO_TELL:
        lines = []
    left = error.data().get("attempts_left")
    return Reply(
        PAM_RESULTS[type(error)],
        error.code,
        _fitting(lines),
        left if isinstance(left, int) else None,
    )


def _fitting(lines: Iterable[str]) -> tuple[str, ...]:
    """Return lines to show that fit on a screen."""
    return tuple(
        piece
        for line in lines
        for piece in textwrap.wrap(line, COLUMNS, break_long_words=False, break_on_hyphens=False)
    )


def _send(connection: socket.socket, reply: Reply) -> None:
    try:
        connection.settimeout(WRITE_WITHIN_S)
        connection.sendall(encode_reply(reply))
    except OSError as error:
        _log.warning("the asker did not take its answer: %s", error.strerror)


def _log_outcome(case: _Case, reply: Reply, detail: str, at: datetime) -> None:
    """Write the audit line: who asked what for whom, on which evidence, and what came out."""
    request, trace = case.request, case.trace
    if reply is ALIVE:
        return
    evidence = trace.holder.revocation if trace.holder else ()
    oldest = min((piece.this_update for piece in evidence), default=None)
    age = None if oldest is None else round((at - oldest).total_seconds())
    _audit.log(
        logging.INFO if reply.result == "PAM_SUCCESS" else logging.WARNING,
        "uid=%d pid=%d verb=%s account=%s service=%s ps_idnat=%s outcome=%s result=%s"
        " trust=%s evidence_age_s=%s detail=%r",
        case.peer.uid,
        case.peer.pid,
        request.verb if request else None,
        request.account if request else None,
        request.service if request else None,
        trace.practitioner.ps_idnat if trace.practitioner else None,
        reply.code,
        reply.result,
        trace.holder.trust if trace.holder else None,
        age,
        detail,
    )
