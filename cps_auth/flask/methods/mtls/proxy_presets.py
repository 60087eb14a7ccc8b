"""Presets of reverse proxies, as data: how each passes a TLS client certificate on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from wsgiref.types import WSGIEnvironment

from cps_auth.errors import RequestMalformed
from cps_auth.flask.methods.mtls.client_certificate import parse_client_certificate


@dataclass(frozen=True, slots=True)
class ProxyPreset:
    """The headers of one proxy, as `docs/mtls.md` sets them.

    Attributes:
        name: as CPS_MTLS_PRESET takes it.
        certificate_header: where the certificate is.
        verdict_header: where the proxy says whether it verified it; None: it cannot, and must
            be set to let nobody through whom it did not.
        verified: the one value of that header that means yes.
    """

    name: str
    certificate_header: str
    verdict_header: str | None
    verified: str = "SUCCESS"


_CERTIFICATE = "X-SSL-Client-Cert"
_VERDICT = "X-SSL-Client-Verify"

PRESETS: Mapping[str, ProxyPreset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            ProxyPreset("nginx", _CERTIFICATE, _VERDICT),
            ProxyPreset("apache", _CERTIFICATE, _VERDICT),
            ProxyPreset("haproxy", _CERTIFICATE, _VERDICT, verified="0"),
            ProxyPreset("traefik", "X-Forwarded-Tls-Client-Cert", None),
            ProxyPreset("caddy", _CERTIFICATE, None),
            ProxyPreset("rfc9440", "Client-Cert", None),
        )
    }
)
"""nginx: $ssl_client_verify; Apache: SSL_CLIENT_VERIFY; HAProxy: ssl_c_verify, 0 is X509_V_OK."""


def read_forwarded_certificate(environ: WSGIEnvironment, preset: ProxyPreset) -> bytes:
    """Return the certificate that the proxy passed on, DER, unverified.

    Args:
        environ: of a request whose peer is known to be the proxy.
        preset: which proxy.

    Raises:
        RequestMalformed: no certificate, an unreadable one, or a verdict other than the
            preset's word for yes ("proxy-did-not-verify").
    """
    certificate_der = parse_client_certificate(_header(environ, preset.certificate_header))
    if preset.verdict_header is not None:
        verdict = _header(environ, preset.verdict_header)
        if verdict != preset.verified:
            raise RequestMalformed("proxy-did-not-verify")
    return certificate_der


def _header(environ: WSGIEnvironment, name: str) -> str:
    value = environ.get("HTTP_" + name.upper().replace("-", "_"), "")
    return value if isinstance(value, str) else ""
