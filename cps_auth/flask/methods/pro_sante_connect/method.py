"""The login method Pro Santé Connect: to the provider, back with a code, and out again.

The state of a login is a form token: single use, bound to the browser, kept by the server with
nonce and PKCE verifier; issuing it is what the rate limit counts. It is taken before anything else
of the callback is looked at, so what another site makes a browser send (`error=access_denied`, a
code of its own) is not even counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

import msgspec
from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.errors import (
    ChallengeExpired,
    ChallengeUnknown,
    CpsAuthError,
    HolderNotAllowed,
    PeerNotAllowed,
    ProviderLevelTooLow,
    ProviderLoginDeclined,
    ProviderTokenRefused,
    ProviderUnavailable,
    RequestMalformed,
)
from cps_auth.flask import audit
from cps_auth.flask.guards.rate_limit import check_rate
from cps_auth.flask.guards.requests import check_document, check_own_page
from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.methods.pro_sante_connect.exercice import exercice
from cps_auth.flask.methods.pro_sante_connect.logout import end_at_provider_demand
from cps_auth.flask.methods.pro_sante_connect.settings import (
    DEFAULTS,
    PscSettings,
    read_psc_settings,
)
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.refuse import answer_remotely, refuse_login
from cps_auth.flask.sessions.browser import (
    TOKEN_FIELD,
    browser_id,
    check_form_token,
    current_language,
    known_browser_id,
)
from cps_auth.flask.sessions.model import NewSession, SessionRow
from cps_auth.flask.sessions.purpose import TEXT_FIELD, Purpose
from cps_auth.flask.sessions.start import let_in
from cps_auth.flask.setting_reader import SettingReader
from cps_auth.flask.state import LoginState, current_state
from cps_auth.login.pro_sante_connect.start import Start
from cps_auth.login.verify import accept_psc_identity

PAGE = "psc"
"""Purpose of the form token of the login page's button."""

_MAX_CHARACTERS = 4096
_EXPLAINED = (ProviderUnavailable, ProviderLoginDeclined, ProviderLevelTooLow, HolderNotAllowed)


class Waiting(msgspec.Struct, frozen=True):
    """The state that the server keeps until the browser is back."""

    start: Start
    next: str
    purpose: str


class ProSanteConnect(LoginMethod):
    """Login at ANS's OpenID provider."""

    name = "pro-sante-connect"
    settings: ClassVar[Mapping[str, object]] = DEFAULTS
    proves_card = False
    is_beside_card = True
    is_first_on_phones = True
    template = "cps/method_pro_sante_connect.html"

    def __init__(self, psc: PscSettings) -> None:
        """Keep the settings. Browsers hold a form's redirections against its policy, too."""
        self.client = psc.client
        self._psc = psc
        self.policy = {"form-action": (psc.client.provider.address.form_target,)}

    @classmethod
    def from_settings(cls, reader: SettingReader) -> Self | None:
        """Return the method if CPS_PSC names a provider."""
        settings = read_psc_settings(reader)
        return None if settings is None else cls(settings)

    @property
    def can_ask_again(self) -> bool:
        """Return whether the provider is known to ask the person again."""
        return self._psc.reauthenticates

    def add_routes(self, blueprint: Blueprint) -> None:
        """Put the way there, the way back, the choice and the provider's own demands on it."""
        blueprint.add_url_rule("/psc/start", "psc_start", self.start, methods=["POST"])
        blueprint.add_url_rule("/psc/callback", "psc_callback", self.callback)
        blueprint.add_url_rule("/psc/exercice", "psc_exercice", exercice, methods=["GET", "POST"])
        blueprint.add_url_rule(
            "/psc/backchannel-logout", "psc_logout", self.backchannel_logout, methods=["POST"]
        )

    def may_explain(self, error: CpsAuthError) -> bool:
        """Return whether the person can act on it; what looks forged stays unexplained."""
        return isinstance(error, _EXPLAINED)

    def is_fresh(self, row: SessionRow, max_age: timedelta, *, at: datetime) -> bool:
        """Return whether the provider proved a young authentication: only `auth_time` does."""
        psc = row.holder.psc
        if not self._psc.reauthenticates or psc is None or psc.authenticated_at is None:
            return False
        return at - psc.authenticated_at <= max_age

    def logout_url(self, row: SessionRow, *, back_to: str) -> str | None:
        """Return where the browser ends its session at the provider, too."""
        if not self._psc.ends_provider_session or row.holder.psc is None:
            return None
        return self.client.logout_url(row.holder.psc.id_token, back_to=back_to)

    def start(self) -> ResponseReturnValue:
        """Lead the browser to the provider."""
        state = current_state()
        try:
            check_own_page(request.environ, state.settings)
            check_form_token(request.form.get(TOKEN_FIELD), PAGE)
            check_rate(state, "psc-start")
            url = self._begin(state)
        except CpsAuthError as refusal:
            return refuse_login(self, refusal)
        return redirect(url, code=303)

    def _begin(self, state: LoginState) -> str:
        at = state.clock()
        self.client.provider.metadata()  # nothing is kept for a provider that is down
        again = request.form.get("again") == "1" and self.can_ask_again
        start = Start.make(authenticated_since=at if again else None)
        waiting = Waiting(
            start,
            asked_or_after_login(request.form.get("next")),
            request.form.get(TEXT_FIELD, Purpose.LOGIN.value),
        )
        kept = msgspec.json.encode(waiting).decode()
        token = state.stores.forms.issue(browser_id(), kept, at=at)
        return self.client.authorization_url(
            start, redirect_uri=_redirect_uri(state), state=token, language=current_language()
        )

    def callback(self) -> ResponseReturnValue:
        """Log in whoever comes back with a code that is theirs."""
        state = current_state()
        try:
            check_document(request.environ)
            waiting = _take(state)
        except (PeerNotAllowed, ChallengeUnknown, ChallengeExpired, RequestMalformed) as stray:
            audit.refused(stray, self.name)
            return answer_remotely(stray)
        try:
            self._log_in(state, waiting)
        except CpsAuthError as refusal:
            return refuse_login(self, refusal)
        return redirect(waiting.next, code=303)

    def _log_in(self, state: LoginState, waiting: Waiting) -> None:
        self.client.check_callback(_parameter("iss"), _parameter("error"))
        code = _parameter("code")
        if code is None:
            raise ProviderTokenRefused("code")
        identity = self.client.finish(
            code, waiting.start, redirect_uri=_redirect_uri(state), at=state.clock()
        )
        holder = accept_psc_identity(identity, allow=state.allow, at=state.clock())
        new = NewSession(holder, b"", self.name, lifetime=self._psc.session_lifetime)
        let_in(state, new, purpose_text=waiting.purpose)

    def backchannel_logout(self) -> ResponseReturnValue:
        """Hear from the provider which sessions are over."""
        return end_at_provider_demand(current_state(), self.client, self.name)


def _take(state: LoginState) -> Waiting:
    token = _parameter("state")
    if token is None:
        raise ChallengeUnknown("no-state")
    kept = state.stores.forms.take(token, known_browser_id(), at=state.clock())
    try:
        return msgspec.json.decode(kept, type=Waiting)
    except msgspec.DecodeError:  # a token of another form
        raise ChallengeUnknown("other-form") from None


def _parameter(name: str) -> str | None:
    values = request.args.getlist(name)
    if len(values) > 1 or any(len(value) > _MAX_CHARACTERS for value in values):
        raise RequestMalformed(f"psc-{name}")
    return values[0] if values else None


def _redirect_uri(state: LoginState) -> str:
    return state.settings.origin + url_for("cps.psc_callback")
