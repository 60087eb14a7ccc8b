"""Redirects to pages of this application, below the path that it is mounted at.

The settings name pages as the application knows them. What a browser is told begins with the
path of the mount (SCRIPT_NAME; Werkzeug's DispatcherMiddleware, or ProxyFix with `x_prefix`).
"""

from __future__ import annotations

from flask import request

from cps_auth.flask.guards.addresses import next_or
from cps_auth.flask.state import current_state


def after_login() -> str:
    """Return where to go when no page was asked for."""
    return _below_mount(current_state().settings.after_login)


def after_logout() -> str:
    """Return where a person goes who logged out."""
    return _below_mount(current_state().settings.after_logout)


def asked_or_after_login(unverified_next: str | None) -> str:
    """Return the asked page if it is safe to go there, `after_login` otherwise."""
    return next_or(unverified_next, after_login())


def this_page() -> str:
    """Return this page as a `next=` value; only a GET can be come back to."""
    if request.method != "GET":
        return after_login()
    return request.script_root + request.full_path.rstrip("?")


def _below_mount(page: str) -> str:
    """A prefix that a proxy let through from outside must not name another host."""
    return next_or(request.script_root + page, page)
