# What cps_auth.flask uses of Flask-Babel, where an application has it.
from collections.abc import Callable

from flask import Flask

class _Locale:
    language: str

def get_locale() -> _Locale | None: ...

class Babel:
    def __init__(self, app: Flask, *, locale_selector: Callable[[], str]) -> None: ...
