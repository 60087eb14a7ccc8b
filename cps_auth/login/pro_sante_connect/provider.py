"""The provider: where it is, what its discovery document may say, and its keys.

ANS serves the document at a path of its own and the authorization endpoint on another host
(the wallet). Endpoints elsewhere than below the provider's own domain are refused: whoever could
change the document would else be given codes, secrets and persons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from joserfc.jwk import KeySet

from cps_auth.errors import ConfigurationError, ProviderTokenRefused, ProviderUnavailable
from cps_auth.login.pro_sante_connect.refreshed import Refreshed
from cps_auth.login.pro_sante_connect.tokens import Claims, UnknownKey, read_keys, verify_token
from cps_auth.login.pro_sante_connect.transport import Transport, is_allowed_url

DISCOVERY_PATH = "/.well-known/wallet-openid-configuration"
_ANS_DOMAIN = "esante.gouv.fr"
_OK = 200


@dataclass(frozen=True, slots=True)
class ProviderAddress:
    """Which provider, and below which domain all of its endpoints are."""

    issuer: str
    domain: str

    @property
    def discovery_url(self) -> str:
        """Return where its document is."""
        return self.issuer + DISCOVERY_PATH

    @property
    def form_target(self) -> str:
        """Return where its pages are, as a source of a Content-Security-Policy."""
        parts = urlsplit(self.issuer)
        if self.domain == _ANS_DOMAIN:
            return f"https://*.{_ANS_DOMAIN}"
        return f"{parts.scheme}://{parts.netloc}"

    def holds(self, url: object) -> bool:
        """Return whether an endpoint is one of the provider's."""
        if not isinstance(url, str) or not is_allowed_url(url):
            return False
        host = urlsplit(url).hostname or ""
        if urlsplit(url).scheme != urlsplit(self.issuer).scheme:
            return False
        return host == self.domain or host.endswith("." + self.domain)


PRODUCTION = ProviderAddress(
    "https://auth.esw.esante.gouv.fr/auth/realms/esante-wallet", _ANS_DOMAIN
)
SANDBOX = ProviderAddress(
    "https://auth.bas.psc.esante.gouv.fr/auth/realms/esante-wallet", _ANS_DOMAIN
)
"""ANS's bac à sable, for invented persons and test cards."""


def find_provider(name_or_issuer: str) -> ProviderAddress:
    """Return the provider that a setting names.

    Args:
        name_or_issuer: "production", "sandbox", or the issuer of another one: https, or http on a
            loopback address for a stand-in.

    Raises:
        ConfigurationError
    """
    known = {"production": PRODUCTION, "sandbox": SANDBOX}
    if name_or_issuer in known:
        return known[name_or_issuer]
    if not is_allowed_url(name_or_issuer) or name_or_issuer.endswith("/"):
        raise ConfigurationError(
            f"{name_or_issuer!r} is not production, sandbox or the https address of an issuer"
        )
    return ProviderAddress(name_or_issuer, urlsplit(name_or_issuer).hostname or "")


@dataclass(frozen=True, slots=True)
class Metadata:
    """The content of a discovery document, checked. Optional endpoints are None."""

    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None
    ciba_endpoint: str | None
    says_issuer_in_callback: bool  # RFC 9207


class Provider:
    """One provider: its document and keys, fetched once and kept. Safe to share between threads."""

    def __init__(
        self, address: ProviderAddress, transport: Transport, *, by_certificate: bool = False
    ) -> None:
        """Fetch nothing yet.

        Args:
            address: which provider.
            transport: how to reach it.
            by_certificate: the client authenticates by TLS, at endpoints of their own.
        """
        self.address = address
        self.transport = transport
        self._by_certificate = by_certificate
        self._metadata = Refreshed(self._fetch_metadata)
        self._keys = Refreshed(self._fetch_keys)

    def metadata(self) -> Metadata:
        """Return the checked document.

        Raises:
            ProviderUnavailable
        """
        return self._metadata.get()

    def verify(self, unverified_token: object) -> Claims:
        """Return the claims of a token that the provider signed.

        An unknown `kid` has the keys fetched once more, at most every few seconds.

        Raises:
            ProviderTokenRefused, ProviderUnavailable
        """
        keys = self._keys.get()
        try:
            return verify_token(unverified_token, keys)
        except UnknownKey:
            keys = self._keys.newer()
        try:
            return verify_token(unverified_token, keys)
        except UnknownKey:
            raise ProviderTokenRefused("key") from None

    def _fetch_metadata(self) -> Metadata:
        document = self._fetch_json(self.address.discovery_url)
        if document.get("issuer") != self.address.issuer:
            raise ProviderUnavailable("discovery-issuer")
        aliases = document.get("mtls_endpoint_aliases")
        if self._by_certificate and isinstance(aliases, dict):
            document = {**document, **aliases}
        return Metadata(
            authorization_endpoint=self._endpoint(document, "authorization_endpoint"),
            token_endpoint=self._endpoint(document, "token_endpoint"),
            userinfo_endpoint=self._endpoint(document, "userinfo_endpoint"),
            jwks_uri=self._endpoint(document, "jwks_uri"),
            end_session_endpoint=self._endpoint_or_none(document, "end_session_endpoint"),
            ciba_endpoint=self._endpoint_or_none(document, "backchannel_authentication_endpoint"),
            says_issuer_in_callback=(
                document.get("authorization_response_iss_parameter_supported") is True
            ),
        )

    def _fetch_keys(self) -> KeySet:
        return read_keys(self._fetch_json(self.metadata().jwks_uri))

    def _fetch_json(self, url: str) -> dict[str, object]:
        answer = self.transport.send("GET", url)
        if answer.status != _OK:
            raise ProviderUnavailable(f"status {answer.status}")
        return answer.json()

    def _endpoint(self, document: Mapping[str, object], name: str) -> str:
        url = document.get(name)
        if not isinstance(url, str) or not self.address.holds(url):
            raise ProviderUnavailable(f"discovery {name}")
        return url

    def _endpoint_or_none(self, document: Mapping[str, object], name: str) -> str | None:
        return None if document.get(name) is None else self._endpoint(document, name)
