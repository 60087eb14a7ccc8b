"""`LoginMethod`: one way to log in, as the extension sees it. Subclass it for another one.

A method proves who somebody is, and hands a `NewSession` to `sessions.start.let_in`. All that
differs between methods is asked of this object; nothing else in the extension names one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import ClassVar, Self

from flask import Blueprint
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from cps_auth.errors import CpsAuthError
from cps_auth.flask.sessions.model import EndReason, SessionRow, SessionStore
from cps_auth.flask.setting_reader import SettingReader


class LoginMethod:
    """One way to log in; an object belongs to one application.

    Attributes:
        name: in session rows, audit lines and the login page; never reused for another one.
        settings: the `CPS_…` keys that `from_settings` reads, with their defaults.
        asks_pin: its login proves that card and PIN were used at `verified_at`.
        proves_card: its login proves that the card's own key was used, here or elsewhere.
        is_beside_card: its part is shown on the page of a method that has one, too.
        is_first_on_phones: most phones have no reader.
        is_guessable: a refusal may be a guess at a secret, so refusals lock an address out.
        has_page: it shows a login page of its own, by `page`, to browsers that may use it.
        template: of its part of the login page that all other methods share; sees `method`,
            `next`, `is_first`, `form_token`, `language` and the translations `_`.
        policy: what its pages need of the Content-Security-Policy: sources by directive.
    """

    name: ClassVar[str]
    settings: ClassVar[Mapping[str, object]] = MappingProxyType({})
    asks_pin: ClassVar[bool] = False
    proves_card: ClassVar[bool] = True
    is_beside_card: ClassVar[bool] = False
    is_first_on_phones: ClassVar[bool] = False
    is_guessable: ClassVar[bool] = False
    has_page: ClassVar[bool] = False
    template: ClassVar[str | None] = None
    policy: Mapping[str, Collection[str]] = MappingProxyType({})

    @classmethod
    def from_settings(cls, reader: SettingReader) -> Self | None:
        """Return the method as the settings have it; None where they do not name it.

        Args:
            reader: of the application's configuration, the defaults of `settings` filled in;
                keeps what is wrong, so what is returned counts only when nothing was.
        """
        del reader
        return None

    def attach(
        self,
        *,
        sessions: SessionStore,
        clock: Callable[[], datetime],
        on_end: Callable[[SessionRow], None],
    ) -> None:
        """Prepare for one application; called once, before any request.

        Args:
            sessions: where the rows are.
            clock: tells the time, aware UTC.
            on_end: told of every row that the method ended by itself, in any thread.
        """

    def add_routes(self, blueprint: Blueprint) -> None:
        """Put the method's addresses on the extension's blueprint."""

    def begin_serving(self) -> None:
        """Look at the server once, in the first request of each process."""

    def check_usable(self) -> None:
        """Check that the browser of this request may use the method.

        Raises:
            PeerNotAllowed: it may not.
        """

    def page(self, *, has_others: bool) -> ResponseReturnValue:
        """Answer with the method's own login page.

        Args:
            has_others: the browser may use other methods, too.
        """
        raise NotImplementedError

    def may_explain(self, error: CpsAuthError) -> bool:
        """Return whether a refused person is told why; otherwise all refusals look the same."""
        del error
        return False

    @property
    def can_ask_again(self) -> bool:
        """Return whether a new login can make a session fresh."""
        return self.asks_pin

    def logout_url(self, row: SessionRow, *, back_to: str) -> str | None:
        """Return where a browser goes that logged out here; None for the application's page.

        Args:
            row: the session that was ended.
            back_to: where it has to come back to, an absolute address.
        """
        del row, back_to
        return None

    def is_fresh(self, row: SessionRow, max_age: timedelta, *, at: datetime) -> bool:
        """Return whether card and PIN were verified as lately as a view demands.

        Args:
            row: an open session of this method.
            max_age: what the view demands.
            at: now, aware UTC.
        """
        return self.asks_pin and at - row.holder.verified_at <= max_age

    def why_over(self, row: SessionRow, *, at: datetime) -> EndReason | None:
        """Return why a session of this method must not go on, besides age; None if it may.

        Args:
            row: of this method, not ended.
            at: now, aware UTC.
        """
        del row, at
        return None

    def watch_script(self, row: SessionRow) -> Markup:
        """Return script tags that an open page of such a session needs; empty for none."""
        del row
        return Markup("")

    def status(self) -> Mapping[str, str | bool]:
        """Return what an open page of this browser may know besides its session."""
        return {}

    def stop(self) -> None:
        """End what runs in the background; may be called twice."""


def offered_methods(
    methods: Iterable[LoginMethod], *, again: bool, card: bool
) -> Sequence[LoginMethod]:
    """Return the methods that have a part on a page and can do what is demanded, in their order.

    Args:
        methods: that this browser may use.
        again: the login has to be fresh.
        card: the card itself has to prove it.
    """
    return [
        method
        for method in methods
        if method.template
        and (method.can_ask_again or not again)
        and (method.proves_card or not card)
    ]
