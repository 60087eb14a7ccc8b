"""Response headers: no framing, no foreign content, nothing kept in a cache."""

from __future__ import annotations

from flask import Response, g
from flask_login import AnonymousUserMixin

from cps_auth.flask.state import current_state

_OWN_FORMS = "form-action 'self'"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        _OWN_FORMS,
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # "no-referrer" would turn the Origin header of our own forms into "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def protect(response: Response) -> Response:
    """Set the headers of the login pages; an application may use it on its own pages too."""
    response.headers.update(_HEADERS)
    mtls = current_state().settings.mtls
    if mtls is not None:  # browsers hold a form's redirections against its policy, too
        policy = CONTENT_SECURITY_POLICY.replace(_OWN_FORMS, f"{_OWN_FORMS} {mtls.origin}")
        response.headers["Content-Security-Policy"] = policy
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


def keep_out_of_caches(response: Response) -> Response:
    """Keep what a logged-in person saw out of caches and of the Back button."""
    user = g.get("_login_user")
    if user is not None and not isinstance(user, AnonymousUserMixin):
        response.headers.setdefault("Cache-Control", "no-store")
    return response
