"""The session-lock hook: a pure, total table, and the small object that walks it.

A session is opened by a verified login and bound to the card that opened it. Whatever could
mean that this card is no longer there locks it; whatever nobody foresaw locks it too. Only a
verified login of the session's own holder leads back to `OPENING`, and from there to `OPEN` once
the screen was seen open: a desktop takes its time, and its old lock proves nothing meanwhile. A
lock that nobody confirms goes on to the next locker, while the earlier may still answer.

This module knows no clock, no PAM and no PC/SC: its owner feeds it events and performs the
actions that it returns.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping

from cps_auth.model import CardEvent, CardEventKind, VerifiedHolder


class LockPhase(enum.Enum):
    """The phases of a session."""

    OPENING = "opening"  # a login was verified; an old cover may not have gone yet
    OPEN = "open"
    LOCKING = "locking"  # asked, not confirmed: treat as open to the world
    LOCKED = "locked"  # confirmed after it was asked
    ENDING = "ending"  # nothing locked it, the session is being ended
    ENDED = "ended"  # over, or followed no more


class LockEvent(enum.Enum):
    """The events that can happen to a session."""

    CARD_IN = "card-in"
    CARD_OUT = "card-out"
    CARD_SWAPPED = "card-swapped"
    READER_GONE = "reader-gone"
    SERVICE_LOST = "service-lost"
    SERVICE_BACK = "service-back"
    WATCHER_STOPPED = "watcher-stopped"
    SUSPENDING = "suspending"
    RESUMED = "resumed"
    IDLE = "idle"
    VERIFIED_LOGIN = "verified-login"  # of the session's own holder, card and PIN, just now
    LOCK_CONFIRMED = "lock-confirmed"  # after it was asked, of everything that is to be locked
    LOCK_REFUSED = "lock-refused"
    LOCKER_DIED = "locker-died"  # what had confirmed covers the screen no more
    SCREEN_OPENED = "screen-opened"  # a screen is seen open
    PASSWORD_OPENED = "password-opened"  # noqa: S105 - no secret; the settings let one open it
    DESKTOP_LOST = "desktop-lost"  # nobody tells any more who is logged in, or locks
    DEADLINE_PASSED = "deadline-passed"  # nothing was confirmed in time
    LOCKERS_EXHAUSTED = "lockers-exhausted"  # and nothing covers the screen
    SESSION_ENDED = "session-ended"


class LockAction(enum.Enum):
    """The actions that the owner performs after an event."""

    NOTHING = "nothing"
    ASK_FIRST_LOCKER = "ask-first-locker"
    ASK_NEXT_LOCKER = "ask-next-locker"
    END_SESSION = "end-session"


Step = tuple[LockPhase, LockAction]

_LOCK: Step = (LockPhase.LOCKING, LockAction.ASK_FIRST_LOCKER)


def _row(
    phase: LockPhase, default: Step, exceptions: Mapping[LockEvent, Step]
) -> dict[tuple[LockPhase, LockEvent], Step]:
    return {(phase, event): exceptions.get(event, default) for event in LockEvent}


_ENDED: Step = (LockPhase.ENDED, LockAction.NOTHING)
_STAY_OPEN: Step = (LockPhase.OPEN, LockAction.NOTHING)
_STAY_OPENING: Step = (LockPhase.OPENING, LockAction.NOTHING)

TABLE: Mapping[tuple[LockPhase, LockEvent], Step] = {
    # Opening: as open, but no cover counts: the old one is on its way out, and tells lies.
    **_row(
        LockPhase.OPENING,
        _LOCK,
        {
            LockEvent.CARD_IN: _STAY_OPENING,
            LockEvent.SERVICE_BACK: _STAY_OPENING,
            LockEvent.VERIFIED_LOGIN: _STAY_OPENING,
            LockEvent.LOCK_CONFIRMED: _STAY_OPENING,
            LockEvent.LOCK_REFUSED: _STAY_OPENING,
            LockEvent.DEADLINE_PASSED: _STAY_OPENING,
            LockEvent.LOCKER_DIED: _STAY_OPEN,  # it went because of the login
            LockEvent.SCREEN_OPENED: _STAY_OPEN,
            LockEvent.PASSWORD_OPENED: _STAY_OPEN,
            LockEvent.SESSION_ENDED: _ENDED,
        },
    ),
    # Open: everything locks, but the few events that are known to be harmless.
    **_row(
        LockPhase.OPEN,
        _LOCK,
        {
            LockEvent.CARD_IN: _STAY_OPEN,
            LockEvent.SERVICE_BACK: _STAY_OPEN,
            LockEvent.VERIFIED_LOGIN: _STAY_OPENING,  # the person may have locked it by hand
            LockEvent.LOCK_CONFIRMED: _STAY_OPEN,  # by whoever locked it: not asked by us
            LockEvent.LOCK_REFUSED: _STAY_OPEN,
            LockEvent.DEADLINE_PASSED: _STAY_OPEN,
            LockEvent.LOCKER_DIED: _STAY_OPEN,
            LockEvent.SCREEN_OPENED: _STAY_OPEN,
            LockEvent.PASSWORD_OPENED: _STAY_OPEN,
            LockEvent.SESSION_ENDED: _ENDED,
        },
    ),
    # Locking: only a confirmation makes it locked, only a fresh login calls it off. A screen that
    # opens meanwhile was opened by the login that went before: never by a password.
    **_row(
        LockPhase.LOCKING,
        (LockPhase.LOCKING, LockAction.NOTHING),
        {
            LockEvent.LOCK_CONFIRMED: (LockPhase.LOCKED, LockAction.NOTHING),
            LockEvent.LOCK_REFUSED: (LockPhase.LOCKING, LockAction.ASK_NEXT_LOCKER),
            LockEvent.DEADLINE_PASSED: (LockPhase.LOCKING, LockAction.ASK_NEXT_LOCKER),
            LockEvent.LOCKER_DIED: _LOCK,
            LockEvent.SCREEN_OPENED: _LOCK,
            LockEvent.PASSWORD_OPENED: _LOCK,
            LockEvent.LOCKERS_EXHAUSTED: (LockPhase.ENDING, LockAction.END_SESSION),
            LockEvent.VERIFIED_LOGIN: _STAY_OPENING,
            LockEvent.SESSION_ENDED: _ENDED,
        },
    ),
    # Locked: the return of the card changes nothing; card and PIN do. A cover that falls is put
    # back at once. A session that a password has opened follows no card any more.
    **_row(
        LockPhase.LOCKED,
        (LockPhase.LOCKED, LockAction.NOTHING),
        {
            LockEvent.LOCKER_DIED: _LOCK,
            LockEvent.SCREEN_OPENED: _LOCK,
            LockEvent.PASSWORD_OPENED: _ENDED,
            LockEvent.VERIFIED_LOGIN: _STAY_OPENING,
            LockEvent.SESSION_ENDED: _ENDED,
        },
    ),
    # Ending: nothing could lock it, so nobody gets it back.
    **_row(
        LockPhase.ENDING,
        (LockPhase.ENDING, LockAction.NOTHING),
        {
            LockEvent.DEADLINE_PASSED: (LockPhase.ENDING, LockAction.END_SESSION),
            LockEvent.SESSION_ENDED: _ENDED,
        },
    ),
    **_row(LockPhase.ENDED, _ENDED, {}),
}

_OF_ANY_READER: Mapping[CardEventKind, LockEvent] = {
    CardEventKind.SERVICE_LOST: LockEvent.SERVICE_LOST,
    CardEventKind.SERVICE_BACK: LockEvent.SERVICE_BACK,
    CardEventKind.WATCHER_STOPPED: LockEvent.WATCHER_STOPPED,
    CardEventKind.RESUMED: LockEvent.RESUMED,
}

_OF_OUR_READER: Mapping[CardEventKind, LockEvent] = {
    CardEventKind.CARD_INSERTED: LockEvent.CARD_IN,
    CardEventKind.CARD_REMOVED: LockEvent.CARD_OUT,
    CardEventKind.CARD_SWAPPED: LockEvent.CARD_SWAPPED,
    CardEventKind.READER_GONE: LockEvent.READER_GONE,
    CardEventKind.READER_ADDED: LockEvent.CARD_OUT,  # a reader that is new holds no card of ours
}


class SessionLock:
    """One session, bound to the card that opened it. Safe to feed from several threads."""

    def __init__(
        self, holder: VerifiedHolder, reader: str, perform: Callable[[LockAction], None]
    ) -> None:
        """Bind a session to the card that is just opening it.

        Args:
            holder: the verified login.
            reader: name of the reader that holds the card.
            perform: does what an action says; called outside the lock, must not raise.
        """
        self._begin(holder.practitioner.ps_idnat, reader, perform)

    @classmethod
    def unattended(cls, ps_idnat: str, perform: Callable[[LockAction], None]) -> SessionLock:
        """Take over a session that nobody has watched for a while; to be fed what locks it.

        Args:
            ps_idnat: of the holder who opened it, and who alone may open it again.
            perform: as for the constructor.

        Returns:
            An opening session, bound to no reader.
        """
        lock = cls.__new__(cls)
        lock._begin(ps_idnat, "", perform)
        return lock

    def _begin(self, ps_idnat: str, reader: str, perform: Callable[[LockAction], None]) -> None:
        self._mutex = threading.Lock()
        self._perform = perform
        self._phase = LockPhase.OPENING
        self._ps_idnat = ps_idnat
        self.reader = reader

    @property
    def phase(self) -> LockPhase:
        """Return where the session stands now."""
        return self._phase

    def feed(self, event: LockEvent) -> LockAction:
        """Take one step of the table and perform its action.

        Args:
            event: what happened. A verified login goes through `reopen` instead.

        Returns:
            The action that was performed.

        Raises:
            ValueError: VERIFIED_LOGIN without the login.
        """
        if event is LockEvent.VERIFIED_LOGIN:
            raise ValueError("a verified login needs its holder: use reopen()")
        return self._step(event)

    def feed_card_event(self, event: CardEvent) -> LockAction:
        """Take the step that a card event means for this session's reader, if any.

        Returns:
            The action that was performed; NOTHING for another reader's card.
        """
        lock_event = _OF_ANY_READER.get(event.kind)
        if lock_event is None and event.reader == self.reader:
            lock_event = _OF_OUR_READER[event.kind]
        return LockAction.NOTHING if lock_event is None else self._step(lock_event)

    def reopen(self, holder: VerifiedHolder, reader: str) -> bool:
        """Let the session's own holder in again, and bind to the card that was used now.

        Returns:
            True if the session is opening; False if the holder is another person, or the
            session is over.
        """
        if holder.practitioner.ps_idnat != self._ps_idnat:
            return False
        with self._mutex:
            self.reader = reader
        self._step(LockEvent.VERIFIED_LOGIN)
        return self._phase is LockPhase.OPENING

    def _step(self, event: LockEvent) -> LockAction:
        with self._mutex:
            self._phase, action = TABLE[self._phase, event]
        if action is not LockAction.NOTHING:
            self._perform(action)
        return action
