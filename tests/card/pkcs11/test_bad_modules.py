"""Modules that are none, crash, hang or lie: a typed error, in time, and the next login works."""

from __future__ import annotations

import errno
import os
import select
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    ContactlessNotEnough,
    CpsAuthError,
    LastAttempt,
    ModuleCannotLogIn,
    ModuleUnusable,
    NoCard,
    PinBlocked,
    WrongPin,
)
from cps_auth.model import Challenge
from tests.card.pkcs11.conftest import SoftHsm

pytestmark = pytest.mark.system

TOKEN_INFO = """
static word token_info(word slot, unsigned char *info) {{
    word rv = ((word (*)(word, unsigned char *))real->call[GET_TOKEN_INFO])(slot, info);
    {change}
    return rv;
}}
static void override(void) {{ ours.call[GET_TOKEN_INFO] = token_info; }}
"""
"""CK_TOKEN_INFO: label 32 bytes, manufacturer 32, model 16, serial 16, then the flags."""

SIGN = """
static word sign(word session, void *data, word length, unsigned char *out, word *out_length) {{
    word (*really)(word, void *, word, void *, word *) = real->call[SIGN];
    {before}
    word rv = really(session, data, length, out, out_length);
    {after}
    return rv;
}}
static void override(void) {{ ours.call[SIGN] = sign; }}
"""

LOGIN = """
#define REALLY ((word (*)(word, word, void *, word))real->call[LOGIN])(session, user, pin, length)
static word login(word session, word user, void *pin, word length) {{ {body} }}
static void override(void) {{ ours.call[LOGIN] = login; }}
"""

LIBRARY_INFO = """
static word login(word session, word user, void *pin, word length) {{ return {code}; }}
static word library_info(unsigned char *info) {{
    word rv = ((word (*)(unsigned char *))real->call[GET_INFO])(info);
    memcpy(info + 2, "{manufacturer}", 32);
    info[80] = 0, info[81] = {minor};
    return rv;
}}
static void override(void) {{ ours.call[LOGIN] = login; ours.call[GET_INFO] = library_info; }}
"""
"""CK_INFO: a version, manufacturer 32 bytes, flags, description 32, then the library's version."""


def _prove(module: Path, challenge: Challenge, *, last_attempt_allowed: bool = False) -> None:
    with Pkcs11Cards(module, sign_deadline_s=2).open_card() as card:
        card.verify_pin_and_sign(
            bytearray(b"1234"), challenge, last_attempt_allowed=last_attempt_allowed
        )


def _children() -> set[str]:
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for list_ in lists for pid in list_.read_text().split()}


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """Holds that a test ended every process that it began."""
    before = _children()
    yield
    assert _children() <= before


@pytest.mark.parametrize("content", [None, b"", b"not a module", b"\x7fELF" + bytes(60)])
def test_a_file_that_is_no_module(tmp_path, content) -> None:
    """Missing, empty or rubbish: unusable, with what the system said."""
    module = tmp_path / "module.so"
    if content is not None:
        module.write_bytes(content)
    with pytest.raises(ModuleUnusable, match=r"module\.so"):
        Pkcs11Cards(module).open_card()


def test_a_file_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    """Its path, once, what the system said, and no name of a class."""
    missing, rubbish = tmp_path / "missing.so", tmp_path / "rubbish.so"
    rubbish.write_bytes(b"not a module, however long it may be")
    for module, cause in ((missing, "missing"), (rubbish, "")):
        with pytest.raises(ModuleUnusable) as refused:
            Pkcs11Cards(module).open_card()
        assert refused.value.cause == cause
        assert refused.value.what.count(module.name) == 1
        assert "Error" not in refused.value.what


def test_a_path_that_is_no_text(softhsm: SoftHsm, tmp_path: Path, challenge: Challenge) -> None:
    """A module in a folder with a Latin-1 name works; one that is missing is told escaped."""
    softhsm.add_token("doctor")
    folder = tmp_path / os.fsdecode(b"m\xe9decin")
    folder.mkdir()
    shutil.copy(softhsm.module, folder / "module.so")
    _prove(folder / "module.so", challenge)
    with pytest.raises(ModuleUnusable, match=r"m\\xe9decin/missing\.so: No such file"):
        _prove(folder / "missing.so", challenge)


def test_a_library_that_is_no_module(compile_module) -> None:
    """A shared library without C_GetFunctionList is unusable."""
    with pytest.raises(ModuleUnusable, match=r"undefined|C_GetFunc"):  # long paths are cut
        Pkcs11Cards(compile_module("int nothing;")).open_card()


@pytest.mark.usefixtures("no_child_left")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("*(volatile int *)0 = 1;", "ended by signal 11"),
        ("exit(3);", "ended with status 3"),
        ("for (;;) pause();", "no answer in time"),
        ("signal(SIGTERM, SIG_IGN); for (;;) pause();", "no answer in time"),
        ("return 5;", "GeneralError"),
    ],
)
def test_a_module_that_fails_at_loading(compile_module, body, why) -> None:
    """It segfaults, exits, hangs or fails: unusable, in bounded time, no process left."""
    module = compile_module(
        "#include <stdlib.h>\n#include <signal.h>\n#include <unistd.h>\n"
        f"long C_GetFunctionList(void **list) {{ {body} }}"
    )
    start = monotonic()
    with pytest.raises(ModuleUnusable, match=why):
        Pkcs11Cards(module, open_deadline_s=1).open_card()
    assert monotonic() - start < 5


def test_a_module_that_prints_disturbs_nobody(compile_shim, challenge) -> None:
    """What it writes to standard output and error is not taken for an answer."""
    module = compile_shim(
        LOGIN.format(
            body='printf("PIN?"); fflush(stdout); write(1, "\\377\\377\\377\\377", 4); '
            "getchar(); return REALLY;"
        )
    )
    _prove(module, challenge)


@pytest.mark.parametrize(
    ("crash", "why"),
    [
        ("abort();", "ended by signal 6"),
        ("*(volatile int *)0 = 1;", "ended by signal 11"),
        ("for (;;) pause();", "no answer in time"),
        ("kill(getpid(), 9);", "ended by signal 9"),
        ("kill(getpid(), 19);", "no answer in time"),
    ],
)
@pytest.mark.usefixtures("no_child_left")
@pytest.mark.parametrize("during", ["login", "sign"])
def test_a_module_that_dies_during_a_proof(
    compile_shim, challenge, tmp_path, crash, why, during
) -> None:
    """Killed, stopped, crashed or hung with the PIN: refused in time, and the next login works."""
    once = f'if (first_time("{tmp_path}/once")) {{ {crash} }}'
    body = {
        "login": LOGIN.format(body=once + "return REALLY;"),
        "sign": SIGN.format(before=once, after=""),
    }[during]
    module = compile_shim("#include <signal.h>\n" + body)
    start = monotonic()
    with pytest.raises(ModuleUnusable, match=why):
        _prove(module, challenge)
    assert monotonic() - start < 5
    _prove(module, challenge)


@pytest.mark.usefixtures("no_child_left")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_stopped_from_outside_during_a_proof(
    compile_shim, challenge, tmp_path, number
) -> None:
    """Somebody kills or stops the process while it signs: refused in time, next login works."""
    marker = tmp_path / "signing"
    module = compile_shim(
        SIGN.format(before=f'if (first_time("{marker}")) for (;;) pause();', after="")
    )

    def strike() -> None:
        while not marker.exists() or not marker.read_text():
            sleep(0.005)
        os.kill(int(marker.read_text()), number)

    striker = threading.Thread(target=strike)
    striker.start()
    with pytest.raises(ModuleUnusable):
        _prove(module, challenge)
    striker.join()
    _prove(module, challenge)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (0x32, CardRemoved),  # CKR_DEVICE_REMOVED
        (0xE0, CardRemoved),  # CKR_TOKEN_NOT_PRESENT
        (0xB3, CardRemoved),  # CKR_SESSION_HANDLE_INVALID
        (0xA0, WrongPin),  # CKR_PIN_INCORRECT
        (0xA4, PinBlocked),  # CKR_PIN_LOCKED
        (0x102, ContactlessNotEnough),  # CKR_USER_PIN_NOT_INITIALIZED
        (0x05, CardMisbehaved),  # CKR_GENERAL_ERROR
        (0x80001234, CardMisbehaved),  # a vendor's own
    ],
)
def test_what_a_failed_login_means(compile_shim, challenge, code, error) -> None:
    """Every return value of C_Login becomes one of our errors, without the PIN in it."""
    module = compile_shim(LOGIN.format(body=f"return {code};"))
    with pytest.raises(error) as raised:
        _prove(module, challenge)
    assert "1234" not in str(raised.value).replace("80001234", "")


@pytest.mark.parametrize(
    ("manufacturer", "minor", "code", "error"),
    [
        ("OpenSC Project", 26, 0x05, ModuleCannotLogIn),  # CKR_GENERAL_ERROR
        ("OpenSC Project", 27, 0x20, ModuleCannotLogIn),  # CKR_DATA_INVALID
        ("OpenSC Project", 26, 0xA0, WrongPin),
        ("OpenSC Project", 23, 0x05, CardMisbehaved),
        ("Somebody", 26, 0x05, CardMisbehaved),
    ],
)
def test_a_module_that_is_known_to_fail_at_every_login(
    compile_shim, challenge, manufacturer, minor, code, error
) -> None:
    """Its name and version are told, not a fault of the card; of others nothing is known."""
    module = compile_shim(
        LIBRARY_INFO.format(manufacturer=manufacturer.ljust(32), minor=minor, code=code)
    )
    with pytest.raises(error) as raised:
        _prove(module, challenge)
    if error is ModuleCannotLogIn:
        assert raised.value.module == f"OpenSC 0.{minor}"


@pytest.mark.parametrize("code", [0x32, 0x05, 0x101])
def test_what_a_failed_signature_means(compile_shim, challenge, code) -> None:
    """A removal told by C_Sign is a removal; anything else is misbehaviour."""
    module = compile_shim(SIGN.format(before=f"return {code};", after=""))
    with pytest.raises(CardRemoved if code == 0x32 else CardMisbehaved):
        _prove(module, challenge)


def test_a_wrong_signature_is_not_handed_on(compile_shim, challenge) -> None:
    """A signature that the certificate's key did not make is refused here already."""
    module = compile_shim(SIGN.format(before="", after="if (out) out[7] ^= 1;"))
    with pytest.raises(CardMisbehaved, match="signature"):
        _prove(module, challenge)


def test_the_last_attempt_needs_a_word(compile_shim, challenge) -> None:
    """CKF_USER_PIN_FINAL_TRY: refused without the word, used with it."""
    module = compile_shim(TOKEN_INFO.format(change="*(word *)(info + 96) |= 0x20000;"))
    with Pkcs11Cards(module).open_card() as card:
        assert card.pin_attempts_left() == 1
    with pytest.raises(LastAttempt):
        _prove(module, challenge)
    _prove(module, challenge, last_attempt_allowed=True)


def test_a_locked_pin_is_not_presented(compile_shim, challenge) -> None:
    """CKF_USER_PIN_LOCKED: blocked, whatever the caller says."""
    module = compile_shim(TOKEN_INFO.format(change="*(word *)(info + 96) |= 0x40000;"))
    with Pkcs11Cards(module).open_card() as card:
        assert card.pin_attempts_left() == 0
    with pytest.raises(PinBlocked):
        _prove(module, challenge, last_attempt_allowed=True)


def test_a_token_without_login_proves_nobody(compile_shim, challenge) -> None:
    """A token that needs no PIN, as the contactless side of a CPS, is not enough."""
    module = compile_shim(TOKEN_INFO.format(change="*(word *)(info + 96) &= ~4UL;"))
    with pytest.raises(ContactlessNotEnough):
        _prove(module, challenge)


@pytest.mark.parametrize("readings", [1, 2, 3, 4])
def test_a_token_that_becomes_another_is_noticed(compile_shim, challenge, readings) -> None:
    """Another serial at any of the four readings, the one after the signature too: removed."""
    change = f"static int seen; if (real_slot(info) && ++seen > {readings}) info[80] ^= 1;"
    real_slot = "static int real_slot(unsigned char *info) { return info[0] == 'C'; }"
    module = compile_shim(real_slot + TOKEN_INFO.format(change=change))
    if readings == 4:
        _prove(module, challenge)
        return
    with pytest.raises(CardRemoved):
        _prove(module, challenge)


@pytest.mark.parametrize("size", ["1UL << 40", "1UL << 30", "~0UL - 1"])
def test_attributes_of_absurd_size(compile_shim, size) -> None:
    """A certificate that claims to be enormous gives an error of ours, in bounded time."""
    module = compile_shim(
        f"""
        typedef struct {{ word type; void *value; word length; }} attribute;
        static word read_attributes(word session, word object, attribute *wanted, word count) {{
            word rv = ((word (*)(word, word, attribute *, word))real->call[GET_ATTRIBUTE_VALUE])
                (session, object, wanted, count);
            for (word i = 0; i < count; i++) if (wanted[i].type == 0x11) wanted[i].length = {size};
            return rv;
        }}
        static void override(void) {{ ours.call[GET_ATTRIBUTE_VALUE] = read_attributes; }}
        """
    )
    start = monotonic()
    with pytest.raises(CpsAuthError):
        Pkcs11Cards(module).open_card()
    assert monotonic() - start < 10


def test_a_search_that_never_ends(compile_shim) -> None:
    """A module that finds objects for ever is not followed for ever."""
    module = compile_shim(
        """
        static word find(word session, word *objects, word most, word *count) {
            for (word i = 0; i < most; i++) objects[i] = 0xdead;
            *count = most;
            return 0;
        }
        static void override(void) { ours.call[FIND_OBJECTS] = find; }
        """
    )
    with pytest.raises((NoCard, ModuleUnusable)):
        Pkcs11Cards(module, open_deadline_s=3).open_card()


FORK = """
    int forked = fork();
    if (forked == 0) {{ signal(SIGTERM, SIG_IGN); signal(SIGHUP, SIG_IGN); for (;;) pause(); }}
    FILE *out = fopen("{pid_file}", "w"); fprintf(out, "%d", forked); fclose(out);
"""
"""A process of the module's own, which keeps all our pipes open and heeds no polite signal."""


def test_a_module_that_forks(compile_shim, challenge, tmp_path) -> None:
    """Its process neither holds a login up nor outlives it, and the next login works."""
    pid_file = tmp_path / "forked"
    module = compile_shim(
        "#include <signal.h>\nstatic word initialize(void *arguments) {{"
        + FORK.format(pid_file=pid_file)
        + "return ((word (*)(void *))real->call[0])(arguments); }}\n"
        "static void override(void) {{ ours.call[0] = initialize; }}"
    )
    for _ in range(2):
        start = monotonic()
        _prove(module, challenge)
        assert monotonic() - start < 5
        assert _has_ended(int(pid_file.read_text()))
        pid_file.unlink()


@pytest.mark.usefixtures("no_child_left")
@pytest.mark.parametrize("end", ["*(volatile int *)0 = 1;", "exit(3);", "for (;;) pause();"])
def test_a_module_that_forks_and_fails(compile_module, tmp_path, end) -> None:
    """It is unusable, in time, and what it forked is ended with it."""
    pid_file = tmp_path / "forked"
    module = compile_module(
        "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        f"long C_GetFunctionList(void **list) {{ {FORK.format(pid_file=pid_file)} {end} }}"
    )
    start = monotonic()
    with pytest.raises(ModuleUnusable):
        Pkcs11Cards(module, open_deadline_s=1).open_card()
    assert monotonic() - start < 5
    assert _has_ended(int(pid_file.read_text()))


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_too_few_descriptors(softhsm: SoftHsm, monkeypatch, failing: int) -> None:
    """No process for it, with the system's reason; those that were to be had are given back."""
    softhsm.add_token("doctor")
    before, really, calls = _descriptors(), os.pipe, iter(range(1, 10))

    def pipe() -> tuple[int, int]:
        if next(calls) == failing:  # the third is the one by which Popen hears of a failed exec
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return really()

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(ModuleUnusable, match="no process for it: Too many open files"):
        Pkcs11Cards(softhsm.module).open_card()
    assert _descriptors() == before


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def _has_ended(pid: int) -> bool:
    """Return whether a process ends, or has: a signal was sent, and takes effect when it is run."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 20)[0])
    finally:
        os.close(process)
