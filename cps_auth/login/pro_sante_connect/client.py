"""The client: what it asks the provider for, and what it makes of the answers.

Authlib builds the requests and authenticates the client; `transport` sends them; every answer is
checked here before anything of it is used. Access and refresh tokens live as long as the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from cps_auth.errors import (
    ProviderIdentityRefused,
    ProviderLoginDeclined,
    ProviderTokenRefused,
    ProviderUnavailable,
)
from cps_auth.login.pro_sante_connect.credentials import (
    Credentials,
    client_authentication,
    read_key,
)
from cps_auth.login.pro_sante_connect.identity import PscIdentity, read_identity
from cps_auth.login.pro_sante_connect.provider import Provider, ProviderAddress
from cps_auth.login.pro_sante_connect.start import Start
from cps_auth.login.pro_sante_connect.tokens import (
    Audience,
    Claims,
    LogoutToken,
    check_authenticated_since,
    check_id_token,
    check_logout_token,
)
from cps_auth.login.pro_sante_connect.transport import Transport
from cps_auth.provider_model import LoginMeans

SCOPE = "openid scope_all"
ACR_VALUES = "eidas1"
_CODE_MAX = 4096
_OK = 200
_DECLINED = frozenset({"access_denied", "login_required", "interaction_required"})


class PscClient:
    """This application at one provider. Safe to share between threads."""

    def __init__(
        self,
        address: ProviderAddress,
        credentials: Credentials,
        *,
        authorities: Path | None = None,
        proxy: str | None = None,
    ) -> None:
        """Read the credentials; nothing is asked yet.

        Args:
            address: which provider.
            credentials: as registered there.
            authorities, proxy: as in `Transport`.

        Raises:
            ConfigurationError: a file cannot be used.
        """
        by_certificate = credentials.certificate is not None
        transport = Transport(
            authorities=authorities,
            certificate=credentials.certificate,
            key=credentials.key if by_certificate else None,
            proxy=proxy,
        )
        self.provider = Provider(address, transport, by_certificate=by_certificate)
        self.audience = Audience(address.issuer, credentials.client_id)
        self._credentials = credentials
        self._key = read_key(credentials)

    def authorization_url(
        self, start: Start, *, redirect_uri: str, state: str, language: str
    ) -> str:
        """Return where the browser goes to log in.

        Args:
            start: kept until it is back.
            redirect_uri: as registered, to the letter.
            state: single use, of this browser.
            language: of the provider's pages, as far as it has them: "fr" or "en".

        Raises:
            ProviderUnavailable
        """
        anew = {} if start.authenticated_since is None else {"prompt": "login", "max_age": "0"}
        url: str = prepare_grant_uri(
            self.provider.metadata().authorization_endpoint,
            client_id=self.audience.client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=SCOPE,
            state=state,
            nonce=start.nonce,
            acr_values=ACR_VALUES,
            ui_locales=language,
            code_challenge=create_s256_code_challenge(start.code_verifier),
            code_challenge_method="S256",
            **anew,
        )
        return url

    def check_callback(self, unverified_issuer: str | None, unverified_error: str | None) -> None:
        """Check what came back beside the code, after the state was found to be this browser's.

        Raises:
            ProviderTokenRefused: another issuer, or none where the provider names itself.
            ProviderLoginDeclined: no code: the person gave up, or was refused.
            ProviderUnavailable: no code, and the fault is the provider's.
        """
        if unverified_issuer is None and self.provider.metadata().says_issuer_in_callback:
            raise ProviderTokenRefused("callback-issuer")
        if unverified_issuer not in (None, self.audience.issuer):
            raise ProviderTokenRefused("callback-issuer")
        if unverified_error is None:
            return
        if unverified_error in _DECLINED:
            raise ProviderLoginDeclined(unverified_error)
        raise ProviderUnavailable("callback-error")

    def finish(
        self,
        unverified_code: str,
        start: Start,
        *,
        redirect_uri: str,
        at: datetime,
    ) -> PscIdentity:
        """Return who logged in: code, tokens, userinfo, each checked.

        Args:
            unverified_code: from the callback.
            start: what was kept.
            redirect_uri: as in the request.
            at: now, aware UTC.

        Raises:
            ProviderRefused: any leaf.
        """
        if not 0 < len(unverified_code) <= _CODE_MAX:
            raise ProviderTokenRefused("code")
        body: str = prepare_token_request(
            "authorization_code",
            code=unverified_code,
            redirect_uri=redirect_uri,
            code_verifier=start.code_verifier,
        )
        tokens = self.post(self.provider.metadata().token_endpoint, body).tokens()
        return self.identify(
            tokens, nonce=start.nonce, at=at, authenticated_since=start.authenticated_since
        )

    def identify(
        self,
        tokens: Mapping[str, object],
        *,
        nonce: str | None,
        at: datetime,
        authenticated_since: datetime | None = None,
        means: LoginMeans | None = None,
    ) -> PscIdentity:
        """Return whom an answer of the token endpoint is about.

        Args:
            tokens: as they came.
            nonce: of the login; None for CIBA.
            at: now, aware UTC.
            authenticated_since: as in `Start`.
            means: as in `read_identity`.

        Raises:
            ProviderRefused: any leaf.
        """
        raw = tokens.get("id_token")
        claims = self.provider.verify(raw)
        check_id_token(claims, self.audience, nonce=nonce, at=at)
        if authenticated_since is not None:
            check_authenticated_since(claims, authenticated_since)
        userinfo = self._userinfo(tokens)
        return read_identity(claims, userinfo, raw_id_token=str(raw), means=means)

    def check_logout(self, unverified_token: str, *, at: datetime) -> LogoutToken:
        """Return what the provider demands to be ended.

        Raises:
            ProviderTokenRefused, ProviderUnavailable
        """
        claims = self.provider.verify(unverified_token)
        return check_logout_token(claims, self.audience, at=at)

    def logout_url(self, id_token: str, *, back_to: str) -> str | None:
        """Return where the browser goes to end the session at the provider, too.

        Args:
            id_token: of the login that is being ended.
            back_to: where the provider leads afterwards; registered there.

        Returns:
            None where the provider has no such page, or cannot be asked for it now.
        """
        try:
            endpoint = self.provider.metadata().end_session_endpoint
        except ProviderUnavailable:
            return None
        if endpoint is None:
            return None
        query = {"client_id": self.audience.client_id, "post_logout_redirect_uri": back_to}
        return f"{endpoint}?{urlencode({'id_token_hint': id_token, **query})}"

    def post(self, endpoint: str, body: str) -> FormAnswer:
        """Send a form to an endpoint, authenticated as this client.

        Raises:
            ProviderUnavailable
        """
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        authentication = client_authentication(self._credentials, self._key, endpoint)
        _, headers, body = authentication.prepare("POST", endpoint, headers, body)
        answer = self.provider.transport.send("POST", endpoint, headers, body.encode())
        if answer.status >= 500:
            raise ProviderUnavailable(f"status {answer.status}")
        return FormAnswer(answer.status, answer.json())

    def _userinfo(self, tokens: Mapping[str, object]) -> Claims:
        token, kind = tokens.get("access_token"), tokens.get("token_type")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ProviderTokenRefused("access-token")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise ProviderTokenRefused("token-type")
        url = self.provider.metadata().userinfo_endpoint
        answer = self.provider.transport.send("GET", url, {"Authorization": f"Bearer {token}"})
        if answer.status != _OK:
            raise ProviderUnavailable(f"userinfo status {answer.status}")
        if answer.media_type == "application/jwt":  # where the client was registered so
            claims = self.provider.verify(answer.unverified_body.decode("ascii", "replace"))
            if claims.get("iss", self.audience.issuer) != self.audience.issuer:
                raise ProviderTokenRefused("issuer")
            return claims
        if answer.media_type != "application/json":
            raise ProviderIdentityRefused("media-type")
        return answer.json()


@dataclass(frozen=True, slots=True)
class FormAnswer:
    """The answer of an endpoint to a form: an OAuth answer, good or not."""

    status: int
    unverified: Mapping[str, object] = field(repr=False)

    @property
    def error(self) -> str | None:
        """Return the error code (RFC 6749 section 5.2), None for a good answer."""
        if self.status == _OK and "error" not in self.unverified:
            return None
        code = self.unverified.get("error")
        return code[:64] if isinstance(code, str) and code.isprintable() else "unknown"

    def tokens(self) -> Mapping[str, object]:
        """Return the tokens.

        Raises:
            ProviderTokenRefused: the code is not one of this login, or was used.
            ProviderUnavailable: any other error; "invalid_client" means wrong credentials.
        """
        if self.error == "invalid_grant":
            raise ProviderTokenRefused("code")
        if self.error is not None:
            raise ProviderUnavailable(f"token endpoint {self.error}")
        return self.unverified
