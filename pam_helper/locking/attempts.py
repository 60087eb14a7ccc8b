"""Attempts at locking: which lockers were asked for which session, and which of them cover it now.

Used by one thread, the session's own; lockers are asked in threads of their own, and their answers
come back through its queue.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pam_helper.locking.lockers import DesktopSession, Locker, Locking, LockProof, LogindSessions

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Attempt:
    """One locker that was asked to lock one session."""

    locker: Locker
    session: DesktopSession
    is_gone: bool = False


class Attempts:
    """The attempts of one account's sessions."""

    def __init__(
        self,
        locking: Locking,
        post: Callable[[Callable[[], object]], None],
        answered: Callable[[Attempt, LogindSessions | None], None],
        uncovered: Callable[[DesktopSession, bool], None],
    ) -> None:
        """Ask nothing yet.

        Args:
            locking: how this machine locks.
            post: has a job done in the session's thread.
            answered: hears, in that thread, that a locker has answered, and what it has covered;
                None where it has covered nothing.
            uncovered: hears there that nothing that was confirmed covers a session any more, and
                whether somebody was let in.
        """
        self._locking = locking
        self._post = post
        self._answered = answered
        self._uncovered = uncovered
        self._at_work: dict[tuple[str, str], Attempt] = {}  # asked, by locker and session
        self._running: list[Attempt] = []  # confirmed once, and still there
        self._confirmed: dict[str, set[str]] = {}  # by id of session, which lockers this round

    def start_round(self) -> None:
        """Believe no confirmation of before."""
        self._confirmed = {}

    def are_confirmed(self, sessions: LogindSessions) -> bool:
        """Return whether every session was confirmed in this round."""
        return not self.unconfirmed(sessions)

    def unconfirmed(self, sessions: LogindSessions) -> LogindSessions:
        """Return the sessions that no locker has confirmed in this round."""
        return frozenset(one for one in sessions if one.session_id not in self._confirmed)

    def are_at_work(self, locker: Locker) -> bool:
        """Return whether a locker has yet to answer for some session."""
        return any(name == locker.name for name, _ in self._at_work)

    def covered(self, sessions: LogindSessions) -> LogindSessions | None:
        """Return the sessions that something covers, or says so; None when nobody can tell."""
        hint = self._locking.desktop.locked_hint(sessions)
        running = {attempt.session.session_id for attempt in self._running}
        return None if hint is None else hint | {s for s in sessions if s.session_id in running}

    def ask(self, locker: Locker, session: DesktopSession, *, opening: bool) -> None:
        """Ask a locker; one that is still at work is not asked a second time.

        Args:
            locker, session: who is asked to lock what.
            opening: as for `Locker.lock`.
        """
        key = (locker.name, session.session_id)
        if key in self._at_work:
            return
        self._at_work[key] = attempt = Attempt(locker, session)

        def exited(ended_well: bool) -> None:
            self._post(lambda: self._exited(attempt, ended_well=ended_well))

        def run() -> None:
            proof = LockProof.NONE
            try:
                proof = locker.lock(session, exited, opening=opening)
            except Exception as error:  # a locker that crashes is not a lock
                _log.critical("locker %s: %s", locker.name, type(error).__name__)
            self._post(lambda: self._take_answer(attempt, proof))

        threading.Thread(target=run, name=f"lock {session.session_id}", daemon=True).start()

    def confirm(self, attempt: Attempt) -> None:
        """Count a locker's answer in this round."""
        self._confirmed.setdefault(attempt.session.session_id, set()).add(attempt.locker.name)

    def _take_answer(self, attempt: Attempt, proof: LockProof) -> None:
        session, locker = attempt.session, attempt.locker
        del self._at_work[locker.name, session.session_id]
        is_covered = proof is not LockProof.NONE and not attempt.is_gone
        if is_covered and proof is LockProof.WATCHED:
            self._running.append(attempt)
        covered = self.covered(frozenset((session,)))
        if locker.needs_logind and covered is not None:
            is_covered = is_covered and bool(covered)  # and not opened again since
        said = "locked" if is_covered else "did not lock"
        _log.info("%s %s %s", locker.name, said, session.session_id)
        self._answered(attempt, (covered or frozenset()) if is_covered else None)

    def _exited(self, attempt: Attempt, *, ended_well: bool) -> None:
        attempt.is_gone = True
        if attempt in self._running:
            self._running.remove(attempt)
            if not self._is_still_covered(attempt.session):
                self._uncovered(attempt.session, ended_well)

    def _is_still_covered(self, session: DesktopSession) -> bool:
        """Return whether another locker, which had confirmed too, covers a session."""
        confirmed = self._confirmed.get(session.session_id, ())
        by_hint = any(one.needs_logind and one.name in confirmed for one in self._locking.lockers)
        return any(other.session == session for other in self._running) or (
            by_hint and bool(self._locking.desktop.locked_hint(frozenset((session,))))
        )
