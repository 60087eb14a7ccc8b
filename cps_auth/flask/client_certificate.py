"""The client certificate in the headers of a reverse proxy: one reader for every proxy.

Each proxy has its own header and spelling. What comes out is one certificate's bytes, nothing
about it judged, or a refusal; a word of the proxy that it verified it is asked for where there
is one, and is never enough.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIEnvironment

from cps_auth.errors import RequestMalformed

MAX_HEADER_CHARACTERS = 24 * 1024
"""A certificate of 16 KB in base64; servers allow less by default."""

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_STRUCTURED = re.compile(r":([A-Za-z0-9+/]+={0,2}):", re.ASCII)


@dataclass(frozen=True, slots=True)
class ProxyPreset:
    """How one proxy passes a certificate on.

    Attributes:
        header: name, as HTTP writes it.
        read: makes DER of its value; raises ValueError.
        verdict_header: where the proxy says what it thinks of it; None: nowhere.
        verdict_good: the one word that means that it agrees.
        absent: values that mean that there is no certificate.
    """

    header: str
    read: Callable[[str], bytes]
    verdict_header: str | None = None
    verdict_good: str = "SUCCESS"
    absent: tuple[str, ...] = ("",)


def _escaped_pem(value: str) -> bytes:
    if " " in value:
        raise ValueError("not escaped")
    return _one_pem(unquote_to_bytes(value))


def _spaced_pem(value: str) -> bytes:
    return _one_pem(value.encode("ascii"))


def _bare_base64(value: str) -> bytes:
    if not _BASE64.fullmatch(value):
        raise ValueError("not base64")
    return base64.b64decode(value, validate=True)


def _structured_bytes(value: str) -> bytes:
    """RFC 8941 section 3.3.5; RFC 9440 section 2.2: one item, no list, no parameters."""
    match = _STRUCTURED.fullmatch(value)
    if match is None:
        raise ValueError("not one byte sequence")
    return base64.b64decode(match.group(1), validate=True)


def _one_pem(text: bytes) -> bytes:
    """RFC 7468 section 2, the lines of which may have become one."""
    text = text.strip()
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        raise ValueError("not one certificate")
    body = b"".join(text[len(_BEGIN) : -len(_END)].split())
    return _bare_base64(body.decode("ascii"))


PRESETS: Mapping[str, ProxyPreset] = MappingProxyType(
    {
        "nginx": ProxyPreset("X-SSL-Client-Cert", _escaped_pem, "X-SSL-Client-Verify"),
        "apache": ProxyPreset(
            "X-SSL-Client-Cert", _spaced_pem, "X-SSL-Client-Verify", absent=("", "(null)")
        ),
        "haproxy": ProxyPreset("X-SSL-Client-Cert", _bare_base64, "X-SSL-Client-Verify", "0"),
        "traefik": ProxyPreset("X-Forwarded-Tls-Client-Cert", _bare_base64),
        "caddy": ProxyPreset("X-SSL-Client-Cert", _bare_base64),
        "rfc9440": ProxyPreset("Client-Cert", _structured_bytes),
    }
)
"""By name, as CPS_MTLS_PROXY takes it; `docs/mtls.md` has the lines of each proxy."""


def read_client_certificate(environ: WSGIEnvironment, preset: ProxyPreset) -> bytes:
    """Return the certificate that the proxy passed on, DER, unverified.

    Args:
        environ: of a request that came from a trusted proxy.
        preset: which one.

    Raises:
        RequestMalformed: none, several, unreadable, or the proxy itself does not agree; the
            reason says which.
    """
    value = _header(environ, preset.header)
    verdict = None if preset.verdict_header is None else _header(environ, preset.verdict_header)
    if value is None or value in preset.absent:
        raise RequestMalformed("no-client-certificate")
    if preset.verdict_header is not None and verdict != preset.verdict_good:
        raise RequestMalformed("proxy-did-not-verify")
    if "," in value:  # WSGI joins headers that came twice
        raise RequestMalformed("several-client-certificates")
    if len(value) > MAX_HEADER_CHARACTERS:
        raise RequestMalformed("client-certificate-length")
    try:
        return _one_element(preset.read(value))
    except ValueError:  # binascii.Error and UnicodeError are some
        raise RequestMalformed("client-certificate-form") from None


def _one_element(der: bytes) -> bytes:
    """Two certificates in a row are not one: a SEQUENCE of 256 bytes to 64 KB, and no more."""
    if der[:2] != b"\x30\x82" or len(der) != 4 + int.from_bytes(der[2:4]):
        raise ValueError("not one element")
    return der


def _header(environ: WSGIEnvironment, name: str) -> str | None:
    value = environ.get("HTTP_" + name.upper().replace("-", "_"))
    return value if isinstance(value, str) else None
