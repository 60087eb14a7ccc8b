"""Response headers: no framing, no foreign content, nothing kept in a cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flask import Response, g
from flask_login import AnonymousUserMixin

from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.state import current_state

_POLICY: Mapping[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}

_HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # "no-referrer" would turn the Origin header of our own forms into "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def content_security_policy(methods: Iterable[LoginMethod]) -> str:
    """Return the Content-Security-Policy of the login pages.

    Args:
        methods: whose sources are added, directive by directive.
    """
    sources = dict(_POLICY)
    for method in methods:
        for directive, more in method.policy.items():
            sources[directive] = " ".join((sources.get(directive, ""), *more)).strip()
    return "; ".join(f"{directive} {allowed}" for directive, allowed in sources.items())


def protect(response: Response) -> Response:
    """Set the headers of the login pages; an application may use it on its own pages too."""
    response.headers.update(_HEADERS)
    response.headers["Content-Security-Policy"] = content_security_policy(
        current_state().methods.values()
    )
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


def keep_out_of_caches(response: Response) -> Response:
    """Keep what a logged-in person saw out of caches and of the Back button."""
    user = g.get("_login_user")
    if user is not None and not isinstance(user, AnonymousUserMixin):
        response.headers.setdefault("Cache-Control", "no-store")
    return response
