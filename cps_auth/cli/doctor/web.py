"""The links of a Flask application's login, looked at inside this process; nothing is sent."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from cps_auth.cli.diagnostics import find_lists
from cps_auth.errors import ConfigurationError, CpsAuthError
from cps_auth.wording import translations

_EXTENSION, _LOCAL_READER = "cps_login", "local-reader"


@cache
def load_app(name: str) -> Any:
    """Import an application once, from the working folder as `flask --app` does.

    Args:
        name: `module:name` of it, or of a function without arguments that makes it.

    Raises:
        ConfigurationError: it cannot be imported, or CpsLogin refused its settings.
    """
    return _load(name)


def reads_cards_here(name: str) -> bool:
    """Return whether an application's login reads cards at this computer; yes if it can't tell."""
    try:
        return _LOCAL_READER in _login_of(load_app(name)).methods
    except CpsAuthError:
        return True


def web_links(
    name: str, language: str, clock: Callable[[], datetime]
) -> Mapping[str, Callable[[], str]]:
    """Return by name what looks at each link of an application's login.

    Args:
        name: see `load_app`.
        language: of the words.
        clock: tells the time, aware UTC.
    """
    load = partial(load_app, name)

    def lists() -> str:
        judge = _login_of(load()).judge
        return f"{judge.trust.name}; {find_lists(judge, language, at=clock())}"

    return {
        "app": lambda: _login_of(load()).settings.origin,
        "app-lists": lists,
        "app-store": lambda: _store(load(), language),
        "login-page": lambda: _login_page(load()),
    }


def _load(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module_name), attribute or "app")
        return found if hasattr(found, "test_client") else found()
    except ConfigurationError as error:
        raise ConfigurationError(error.what, "app-settings") from None
    except CpsAuthError:
        raise
    except Exception as error:
        what = f"{name}: {type(error).__name__}: {error}"
        raise ConfigurationError(what, "app-not-loadable") from None


def _login_of(app: Any) -> Any:
    try:
        return app.extensions[_EXTENSION]
    except KeyError:
        raise ConfigurationError(f"{app.name}: no CpsLogin", "app-without-login") from None


def _store(app: Any, language: str) -> str:
    state = _login_of(app)
    state.stores.sessions.find("doctor")
    answers = translations(language).gettext("{store} answers")
    return answers.format(store="Redis" if state.settings.store else state.settings.database)


def _login_page(app: Any) -> str:
    """Ask for the login page as a browser does.

    Raises:
        ConfigurationError: it answers with an error.
    """
    settings = _login_of(app).settings
    path = f"{settings.url_prefix}/login"
    with app.test_client() as browser:
        answer = browser.get(path, base_url=settings.origin, headers={"Accept": "text/html"})
        status = answer.status
    if answer.status_code >= 400:
        raise ConfigurationError(f"{path}: {status}", "login-page")
    return f"{settings.origin}{path}: {status}"
