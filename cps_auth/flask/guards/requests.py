"""Checks of a request before the card is touched on its behalf.

Judged from the WSGI environment as the server filled it in, from configuration, and from
headers that no page can forge (Fetch Metadata, Origin). A forwarding header never makes a
request local; it only ever makes it foreign.
"""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from flask import Request

from cps_auth.errors import PeerNotAllowed
from cps_auth.flask.guards.addresses import is_loopback
from cps_auth.flask.settings import FlaskSettings

_FORWARDED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED")
"""What the headers of proxies begin with."""


BELOW_PROXY_FIX = "werkzeug.proxy_fix.orig"
"""Where Werkzeug's ProxyFix keeps what it replaced in the environment."""


def check_same_machine(environ: WSGIEnvironment, settings: FlaskSettings) -> None:
    """Check that the browser runs on the machine that has the reader.

    A proxy on this machine would make every browser look local: a request that says it came
    through one is refused, and so is any other `Host` than the configured one (DNS rebinding).

    Raises:
        PeerNotAllowed
    """
    peer = server_peer(environ)
    if peer is None or not is_loopback(peer):
        raise PeerNotAllowed("peer-not-loopback")
    if _came_through_a_proxy(environ):
        raise PeerNotAllowed("came-through-a-proxy")
    if as_received(environ, "HTTP_HOST") != settings.host:
        raise PeerNotAllowed("host")


def _came_through_a_proxy(environ: WSGIEnvironment) -> bool:
    """No browser speaks HTTP/1.0; nginx does by default, and adds no header."""
    is_marked = any(name.startswith(_FORWARDED) for name in environ)
    return is_marked or environ.get("SERVER_PROTOCOL") == "HTTP/1.0"


def check_own_page(environ: WSGIEnvironment, settings: FlaskSettings) -> None:
    """Check that a page of this origin made the request (forms and background fetches).

    Raises:
        PeerNotAllowed: another site did, or the browser does not say.
    """
    fetch_site = environ.get("HTTP_SEC_FETCH_SITE")
    if fetch_site not in (None, "same-origin"):
        raise PeerNotAllowed("fetch-site")
    origin = environ.get("HTTP_ORIGIN")
    if origin is None and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return
    if origin != settings.origin:
        raise PeerNotAllowed("origin")


def check_document(environ: WSGIEnvironment) -> None:
    """Check that a page is opened as a page: not as an image, a script or a frame.

    Raises:
        PeerNotAllowed
    """
    if not _is_document(environ):
        raise PeerNotAllowed("not-a-document")


def opens_a_page(request: Request) -> bool:
    """Return whether a person opens a page, or sends a form of one; a program does not."""
    if not _is_document(request.environ):
        return False
    accepted = request.accept_mimetypes
    if request.method == "POST":  # every browser says so of a form's answer, and no other program
        return "text/html" in accepted.values()
    return request.method == "GET" and accepted.accept_html


def wants_json(request: Request) -> bool:
    """Return whether a script asks, which reads JSON and shows no page of ours."""
    accepted = request.accept_mimetypes.values()
    return "application/json" in accepted and "text/html" not in accepted


def is_phone(request: Request) -> bool:
    """Return whether the browser says that it runs on a phone; only an order rests on it."""
    hint = request.headers.get("Sec-CH-UA-Mobile")
    return hint == "?1" if hint is not None else "Mobi" in request.user_agent.string


def _is_document(environ: WSGIEnvironment) -> bool:
    """Recognise a page's load: behind a service worker by `navigate`, which no script can say."""
    destination = environ.get("HTTP_SEC_FETCH_DEST")
    if destination == "empty":
        return environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
    return destination in (None, "document")


def server_peer(environ: WSGIEnvironment) -> str | None:
    """Return the address at the other end of the connection, whatever any header says."""
    return as_received(environ, "REMOTE_ADDR")


def as_received(environ: WSGIEnvironment, key: str) -> str | None:
    """Return a value from below Werkzeug's ProxyFix, which rewrites the environment from headers.

    Args:
        environ: of the request.
        key: as WSGI names it.
    """
    original = environ.get(BELOW_PROXY_FIX, environ)
    value = original.get(key)
    return value if isinstance(value, str) else None
