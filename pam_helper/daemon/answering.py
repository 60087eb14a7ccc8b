"""One connection: reads the request, has it decided, answers, and leaves one audit line."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace

from cps_auth.audit.entry import AuditEntry, AuditEvent, entry_of_login
from cps_auth.audit.handler import FIELDS, carry
from cps_auth.cli.diagnostics import lists_end_text
from cps_auth.errors import CardBusy, CpsAuthError
from cps_auth.pin_entry import wipe
from pam_helper.daemon.authority import Answer, Asker, Authority
from pam_helper.daemon.protocol import ALIVE, Inbox, Peer, Reply, Request, encode_reply
from pam_helper.daemon.replies import refusal, reply_to

READ_WITHIN_S = 5.0
"""A client has everything in hand when it connects: the PIN was typed before."""
WRITE_WITHIN_S = 2.0
QUESTION_WITHIN_S = 2.0
"""A person is asked without the attempts left where a card takes longer to tell them."""

_log = logging.getLogger(__name__)
_audit = logging.getLogger("cps_auth.audit")


@dataclass(slots=True)
class _Case:
    """State of one connection, for its audit line. Answered once."""

    connection: socket.socket
    authority: Authority
    language: str
    asker: Asker
    request: Request | None = None
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _is_answered: bool = False

    def answer(self, reply: Reply, detail: str = "") -> None:
        """Log the outcome and answer, unless that was done before."""
        with self._mutex:
            if self._is_answered:
                return
            self._is_answered = True
        _log_outcome(self, reply, detail)
        _send(self.connection, reply)

    def answer_overdue(self) -> None:
        """Answer in place of the thread that is at work, and hang up: it may never come back."""
        late = CardBusy()
        if self.request is not None and self.request.verb in ("ask", "require"):
            self.answer(reply_to(Answer(self.request.verb), self.language))
        else:
            self.answer(refusal(late, self.language), str(late))
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def answer(connection: socket.socket, peer: Peer, authority: Authority, language: str) -> None:
    """Serve one connection. Never raises; the connection is closed by its owner.

    Args:
        connection: just accepted.
        peer: who is at the other end.
        authority: decides.
        language: of the lines to show, "fr" or "en".
    """
    case = _Case(connection, authority, language, Asker(peer, lambda: _is_there(connection)))
    case.asker.when_overdue = case.answer_overdue
    inbox = Inbox.of(connection, READ_WITHIN_S)
    try:
        reply = _decide(inbox, case)
    except CpsAuthError as error:
        case.answer(refusal(error, language), str(error))
    except Exception as error:
        # Its message could quote anything that was being worked on, so it is not logged.
        case.answer(Reply("PAM_SYSTEM_ERR", "unforeseen"), type(error).__name__)
    else:
        case.answer(reply)
    finally:
        wipe(inbox.buffer)


def _decide(inbox: Inbox, case: _Case) -> Reply:
    case.request = request = inbox.request()
    secret = inbox.secret_of(request)
    try:
        if request.verb == "ping":
            return ALIVE
        if request.verb in ("ask", "require"):
            _send(inbox.connection, ALIVE)
            return _question(request, case)
        return reply_to(case.authority.decide(request, secret, case.asker), case.language)
    finally:
        wipe(secret)


def _question(request: Request, case: _Case) -> Reply:
    """Have a question decided, but keep the person waiting for no card."""
    timer = threading.Timer(QUESTION_WITHIN_S, case.answer_overdue)
    timer.daemon = True
    timer.start()
    try:
        answer = case.authority.decide(request, bytearray(), case.asker)
        return _with_warning(reply_to(answer, case.language), case)
    finally:
        timer.cancel()


def _with_warning(question: Reply, case: _Case) -> Reply:
    """Return a question below the warning that revocation lists end soon, which is logged, too."""
    admission, at = case.asker.admission, case.authority.clock()
    evidence = admission.judged.revocation if admission else ()
    ends = min((piece.next_update for piece in evidence), default=None)
    warning = None if ends is None else lists_end_text(ends, at, case.language)
    if ends is None or warning is None:
        return question
    _log.warning("%s", lists_end_text(ends, at, "en"))
    return replace(question, lines=(warning, *question.lines))


def _is_there(connection: socket.socket) -> bool:
    """Return whether the client waits: it has neither closed its side nor sent more."""
    try:
        connection.settimeout(0)
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _send(connection: socket.socket, reply: Reply) -> None:
    try:
        connection.settimeout(WRITE_WITHIN_S)
        connection.sendall(encode_reply(reply))
    except OSError as error:
        _log.warning("the asker did not take its answer: %s", error.strerror)


def _log_outcome(case: _Case, reply: Reply, detail: str) -> None:
    """Write the audit line: who asked what for whom, on which evidence, and what came out."""
    request, asker = case.request, case.asker
    if reply.code == "alive":
        return
    evidence = asker.holder.revocation if asker.holder else ()
    oldest = min((piece.this_update for piece in evidence), default=None)
    at = case.authority.clock()
    facts = {
        "uid": asker.peer.uid,
        "pid": asker.peer.pid,
        "verb": request.verb if request else None,
        "account": request.account if request else None,
        "service": request.service if request else None,
        "ps_idnat": asker.practitioner.ps_idnat if asker.practitioner else None,
        "outcome": reply.code,
        "result": reply.result,
        "trust": asker.holder.trust if asker.holder else None,
        "evidence_age_s": None if oldest is None else round((at - oldest).total_seconds()),
    }
    is_question = reply.code == "question"
    fields = {f"CPS_{name.upper()}": fact for name, fact in facts.items()}
    entry = _entry(asker, request, reply, detail)
    level = logging.INFO if reply.result == "PAM_SUCCESS" else logging.WARNING
    _audit.log(
        logging.DEBUG if is_question else level,
        "%s detail=%r",
        " ".join(f"{name}={fact}" for name, fact in facts.items()),
        detail,
        extra={FIELDS: fields} if is_question else carry(entry, fields),
    )


def _entry(asker: Asker, request: Request | None, reply: Reply, detail: str) -> AuditEntry:
    account, service = (request.account, request.service) if request else (None, None)
    peer = f"uid {asker.peer.uid}"
    if reply.result == "PAM_SUCCESS" and asker.holder is not None:
        return entry_of_login(asker.holder, "pc", account=account, method=service, peer=peer)
    good = reply.result == "PAM_SUCCESS"
    return AuditEntry(
        event=AuditEvent.CODE_USED if good else AuditEvent.LOGIN_REFUSED,
        surface="pc",
        outcome="" if good else reply.code,
        holder=asker.practitioner.ps_idnat if asker.practitioner else None,
        account=account,
        method=service,
        peer=peer,
        detail=detail or None,
    )
