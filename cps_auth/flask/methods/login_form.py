"""Reads the forms with a card's codes so that each code only ever exists in one wiped buffer.

Flask's own form parser would leave the PIN in `request.form`, from where error reporters and
debug pages copy it. So the body is read here, and nothing of it stays on the request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import parse_qsl

from flask import Request, g, request

from cps_auth.errors import RequestMalformed

MAX_BODY_BYTES = 16 * 1024

_log = logging.getLogger(__name__)
_CONTENT_TYPE = "application/x-www-form-urlencoded"
_MAX_FIELDS = 8


@dataclass(frozen=True, slots=True)
class LoginForm:
    """The form that a person sent: the login's, or the one that unblocks a card."""

    codes: Mapping[str, bytearray] = field(repr=False)  # by field name
    unverified_token: str
    unverified_next: str | None
    last_attempt_confirmed: bool


def hold_login_form() -> None:
    """Read the body of this request before anybody else does, until `login_form` takes it.

    A hook of the application that looks at `request.form` finds it empty.
    """
    g.cps_login_body = None
    try:
        g.cps_login_body = _read_body(request)
    except RequestMalformed as refusal:  # answered where the form is taken
        g.cps_login_refusal = refusal


def wipe_login_form() -> None:
    """Wipe a body that nobody took: a hook of the application answered instead."""
    body = g.pop("cps_login_body", None)
    if body is not None:
        _wipe(body)


@contextmanager
def login_form(*codes: str) -> Iterator[LoginForm]:
    """Give the form of this request; its codes are wiped when the block ends.

    Args:
        codes: names of the fields that hold a card's code.

    Raises:
        RequestMalformed: not this form, too long, or read by somebody else before.
    """
    body: bytearray | None = g.pop("cps_login_body", None)
    if body is None:
        raise g.pop("cps_login_refusal", RequestMalformed("no-body"))
    cut = {name: bytearray() for name in codes}
    try:
        for name, code in cut.items():
            _cut_code(body, name.encode("ascii") + b"=", code)
        fields = _other_fields(body)
        yield LoginForm(
            codes=cut,
            unverified_token=fields.get("token", ""),
            unverified_next=fields.get("next"),
            last_attempt_confirmed=fields.get("last_attempt") == "yes",
        )
    finally:
        _wipe(body)
        for code in cut.values():
            _wipe(code)


def _read_body(request: Request) -> bytearray:
    length = request.content_length
    if "form" in request.__dict__:  # parsed already, PIN and all
        _log.error("something reads request.form before CpsLogin can: nobody can log in here")
        raise RequestMalformed("form-read-before")
    if request.mimetype != _CONTENT_TYPE or length is None or not 0 < length <= MAX_BODY_BYTES:
        raise RequestMalformed("content-type-or-length")
    body = bytearray(length)
    try:
        _fill(body, request.stream)
    except BaseException:
        _wipe(body)
        raise
    return body


def _fill(body: bytearray, stream: IO[bytes]) -> None:
    """Read byte by byte: `read` is all that PEP 3333 promises, and what it returns can't be wiped.

    One byte alone is no secret: CPython has one object for each of the 256.
    """
    for index in range(len(body)):
        byte = stream.read(1)
        if not byte:
            raise RequestMalformed("body-cut-off")
        body[index] = byte[0]


def _cut_code(body: bytearray, field: bytes, code: bytearray) -> None:
    """Move the first such field's bytes into `code`, zeroing them where they were."""
    start = 0 if body.startswith(field) else body.find(b"&" + field) + 1
    if start == 0 and not body.startswith(field):
        raise RequestMalformed("no-pin-field")
    first = start + len(field)
    end = body.find(b"&", first)
    end = len(body) if end < 0 else end
    with memoryview(body) as view:
        code += view[first:end]
        view[first:end] = bytes(end - first)


def _other_fields(body: bytearray) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=_MAX_FIELDS,
            errors="strict",
        )
    except ValueError:
        raise RequestMalformed("form-fields") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RequestMalformed("form-field-twice")
    return fields


def _wipe(buffer: bytearray) -> None:
    buffer[:] = bytes(len(buffer))
