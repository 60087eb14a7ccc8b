"""Client authentication: client_secret_basic, private_key_jwt or tls_client_auth."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from cps_auth.errors import ConfigurationError

_ASSERTION_LIFETIME_S = 60
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of this client, for one of the three ways; all files are PEM.

    A secret alone is client_secret_basic, a key alone private_key_jwt, a certificate with its key
    tls_client_auth (RFC 8705).
    """

    client_id: str
    secret: str | None = field(default=None, repr=False)
    key: Path | None = None
    certificate: Path | None = None


def client_authentication(
    credentials: Credentials, key: RSAKey | ECKey | None, endpoint: str
) -> ClientAuth:
    """Return what puts the authentication on a request.

    Args:
        credentials: of this client.
        key: what `read_key` returned for them.
        endpoint: that the request goes to, the audience of an assertion.

    Source: OpenID Connect Core section 9; RFC 8705 section 2.
    """
    client_id, secret = credentials.client_id, credentials.secret
    if key is None:
        method = "none" if credentials.certificate else "client_secret_basic"
        return ClientAuth(client_id, secret, method)
    algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"

    def sign(
        _: ClientAuth, __: str, uri: str, headers: dict[str, str], body: str
    ) -> tuple[str, dict[str, str], str]:
        claims = {"exp": int(time.time()) + _ASSERTION_LIFETIME_S}
        assertion = private_key_jwt_sign(key, client_id, endpoint, algorithm, claims=claims)
        sent = {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}
        return uri, headers, f"{body}&{urlencode(sent)}"

    return ClientAuth(client_id, None, sign)


def read_key(credentials: Credentials) -> RSAKey | ECKey | None:
    """Return the key of private_key_jwt, None where the client authenticates otherwise.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    if credentials.key is None or credentials.certificate is not None:
        return None
    try:
        pem = credentials.key.read_bytes()
        return _any_key(pem)
    except (OSError, JoseError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"Pro Santé Connect, {credentials.key}: {type(error).__name__}"
        ) from None


def _any_key(pem: bytes) -> RSAKey | ECKey:
    try:
        return RSAKey.import_key(pem)
    except (JoseError, ValueError, TypeError):
        return ECKey.import_key(pem)
