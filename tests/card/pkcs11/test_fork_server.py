"""A module's children forked by a process that waits: what holds of one started alone holds too."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from cps_auth.card.pkcs11.process_starters import ForkServer
from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import ModuleUnusable, WrongPin
from cps_auth.model import Challenge

pytestmark = pytest.mark.system

PIN = b"1234"


Made = tuple[ForkServer, int]


@pytest.fixture
def server(softhsm) -> Made:
    """A fork server and its process, with the environment that SoftHSM2 needs, and a token."""
    softhsm.add_token("doctor")
    return _make()


def _make() -> Made:
    before = _children(os.getpid())
    server = ForkServer()
    (pid,) = _children(os.getpid()) - before
    return server, pid


@pytest.fixture
def log_in(softhsm, challenge: Challenge) -> Callable[[ForkServer], None]:
    """Logs a token in through a module whose child is forked."""

    def once(server: ForkServer) -> None:
        with Pkcs11Cards(softhsm.module, start=server).open_card() as card:
            card.verify_pin_and_sign(bytearray(PIN), challenge)

    return once


def test_each_card_has_a_child_that_ends_with_its_pin(softhsm, challenge, server) -> None:
    """One process for a card opened, none after a refusal, a proof or close; the server stays."""
    fork, pid = server
    with Pkcs11Cards(softhsm.module, start=fork).open_card() as card:
        (first,) = _children(pid)
        with pytest.raises(WrongPin):
            card.verify_pin_and_sign(bytearray(b"4321"), challenge)
        assert not _children(pid)
        card.read_authentication_certificate()
        assert _children(pid) not in (set(), {first})
        card.verify_pin_and_sign(bytearray(PIN), challenge)
        assert not _children(pid)
    assert Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_died_or_hangs_is_replaced(server, log_in, fault) -> None:
    """The login that finds it so works, in bounded time, and leaves none behind."""
    fork, pid = server
    log_in(fork)
    before = _children(os.getpid()) - {pid}
    os.kill(pid, fault)
    start = monotonic()
    log_in(fork)
    assert monotonic() - start < 10
    (other,) = _children(os.getpid()) - before
    assert other != pid


@pytest.mark.parametrize(("fault", "why"), [("KILL", "signal 9"), ("STOP", "no answer in time")])
def test_a_child_that_dies_or_hangs(softhsm, challenge, server, fault, why) -> None:
    """Told as of any child, while the server is stopped as well; the next login works."""
    fork, pid = server
    cards = Pkcs11Cards(softhsm.module, start=fork, open_deadline_s=1)
    with cards.open_card() as card:
        (child,) = _children(pid)
        os.kill(child, signal.Signals[f"SIG{fault}"])
        with pytest.raises(ModuleUnusable, match=why):
            card.pin_attempts_left()
        assert not _children(pid)
        card.verify_pin_and_sign(bytearray(PIN), challenge)


def test_all_of_them_stopped_in_a_login(softhsm, challenge, server) -> None:
    """A card whose child and server hang is refused in time, and the next login works."""
    fork, pid = server
    cards = Pkcs11Cards(softhsm.module, start=fork, open_deadline_s=1)
    with cards.open_card() as card:
        (child,) = _children(pid)
        for one in (pid, child):
            os.kill(one, signal.SIGSTOP)
        with pytest.raises(ModuleUnusable, match="no answer in time"):
            card.pin_attempts_left()
        card.verify_pin_and_sign(bytearray(PIN), challenge)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("*(volatile int *)0 = 1;", "ended by signal 11"),
        ("exit(3);", "ended with status 3"),
        ("for (;;) pause();", "no answer in time"),
        ("return 5;", "GeneralError"),
    ],
)
def test_a_module_that_fails_at_loading(compile_module, server, log_in, body, why) -> None:
    """It segfaults, exits, hangs or fails in a child of its own; another module works after it."""
    fork, pid = server
    module = compile_module(
        "#include <stdlib.h>\n#include <unistd.h>\n"
        f"long C_GetFunctionList(void **list) {{ {body} }}"
    )
    with pytest.raises(ModuleUnusable, match=why):
        Pkcs11Cards(module, start=fork, open_deadline_s=1).open_card()
    assert not _children(pid)
    log_in(fork)


def test_a_child_holds_its_own_pipes_only(softhsm, server) -> None:
    """Of two children none holds what another's PIN goes through, nor the server's socket."""
    fork, pid = server
    cards = Pkcs11Cards(softhsm.module, start=fork)
    with cards.open_card(), cards.open_card():
        held = [_held(child) for child in _children(pid)]
    assert len(held) == 2
    assert [len([one for one in mine if "pipe:" in one]) for mine in held] == [2, 2]
    assert not held[0] & held[1] - {"/dev/null"}
    assert not [one for one in held[0] | held[1] if "socket:" in one or "pidfd" in one]


def test_no_descriptor_stays(softhsm, challenge, server) -> None:
    """Neither here nor in the server, after logins and a child that was killed."""
    fork, pid = server
    cards = Pkcs11Cards(softhsm.module, start=fork)

    def once() -> None:
        with cards.open_card() as card:
            card.verify_pin_and_sign(bytearray(PIN), challenge)
        with cards.open_card():
            (child,) = _children(pid)
            os.kill(child, signal.SIGKILL)

    once()
    gc.collect()
    before = len(_descriptors(os.getpid())), len(_descriptors(pid))
    for _ in range(3):
        once()
    gc.collect()
    until = monotonic() + 10
    while len(_descriptors(os.getpid())) > before[0] or len(_descriptors(pid)) > before[1]:
        assert monotonic() < until  # the server closes its ends just after it has told
        sleep(0.01)


def test_a_process_that_was_forked_has_a_server_of_its_own(server, log_in) -> None:
    """As gunicorn's workers, forked after the application was loaded: they don't share one."""
    fork, pid = server
    log_in(fork)
    worker = os.fork()
    if worker == 0:
        status = 1
        try:
            log_in(fork)
            status = 0 if _children(os.getpid()) - {pid} else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
    log_in(fork)
    assert Path(f"/proc/{pid}").exists()


def test_it_ends_with_the_last_who_holds_it(softhsm, log_in) -> None:
    """Nothing keeps the process once its object is gone."""
    softhsm.add_token("doctor")
    fork, pid = _make()
    log_in(fork)
    del fork
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


def test_it_ends_with_a_process_that_is_killed() -> None:
    """SIGKILL leaves its owner no word to say: the closed socket is enough."""
    program = (
        "from cps_auth.card.pkcs11.process_starters import ForkServer\n"
        "server = ForkServer()\nprint(flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        owner.stdout.read(1)
        (pid,) = _children(owner.pid)
        ended = os.pidfd_open(pid)
        owner.kill()
    assert select.select([ended], [], [], 10)[0]
    os.close(ended)


def test_a_program_that_keeps_one_ends_quietly(softhsm) -> None:
    """At the end of the program the kept child is ended, and nothing is said."""
    softhsm.add_token("doctor")
    program = f"""
from pathlib import Path
from cps_auth.card.open import open_cards
cards = open_cards(Path({str(softhsm.module)!r}), stays=True)
cards.open_card().close()
print(cards._supply._kept[0].supplied.process._child._pidfd)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) > 0
    assert done.stderr == ""


def _children(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def _descriptors(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


def _held(pid: int) -> set[str]:
    return {str(one.readlink()) for one in _descriptors(pid)}
