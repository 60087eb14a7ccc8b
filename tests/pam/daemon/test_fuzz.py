"""Rubbish at the daemon: nothing unlocks, crashes, spends an attempt or reaches another account.

CPS_AUTH_FUZZ_MESSAGES sets how many messages the parser gets (20 000 in the suite), and
CPS_AUTH_FUZZ_CONNECTIONS how many another user's processes send through the real socket (2000 in
the suite); the campaign in docs/appendix/fuzzing.md ran 1 000 000 of both.
"""

from __future__ import annotations

import array
import inspect
import logging
import os
import random
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cps_auth.errors import CpsAuthError
from pam_helper.daemon.answering import answer
from pam_helper.daemon.protocol import Peer, Request, decode_request

CabinetPc = Any  # the fixture's class lives in conftest.py, which is no module to import

MESSAGES = int(os.environ.get("CPS_AUTH_FUZZ_MESSAGES", "20000"))
CONNECTIONS = int(os.environ.get("CPS_AUTH_FUZZ_CONNECTIONS", "2000"))
THROUGH_THE_WHOLE_DAEMON = max(200, MESSAGES // 100)
SEEDS = [
    b"cps1 ask root xsecurelock\n",
    b"cps1 verify root login\n\x049999",
    b"cps1 verify root login\n\x04abcd",
    b"cps1 code root login\n\x0cABCDEFGHJKLM",
    b"cps1 ping root watchdog\n",
    b"cps1 require root xsecurelock\n",
    b"cps1 ask nobody sudo\n",
    b'{"verb":"verify"}\n',
]


def _mutate(chance: random.Random, seed: bytes) -> bytes:
    message = bytearray(seed)
    for _ in range(chance.randrange(5)):
        place = chance.randrange(len(message) + 1)
        match chance.randrange(5):
            case 0:
                message[place:place] = chance.randbytes(chance.randrange(1, 20))
            case 1:
                del message[place : place + chance.randrange(1, 8)]
            case 2 if place < len(message):
                message[place] ^= 1 << chance.randrange(8)
            case 3:
                message[place:place] = chance.choice(SEEDS)
            case _:
                message = message[:place]
    return bytes(message)


def test_the_parser_lets_only_requests_through() -> None:
    """Every mutated line is a request with clean names, or refused by our own error."""
    chance = random.Random(2026)  # noqa: S311 - the same rubbish in every run
    deadline_s = time.monotonic() + 100 + MESSAGES / 2000
    read = 0
    for _ in range(MESSAGES):
        line = _mutate(chance, chance.choice(SEEDS)).split(b"\n")[0]
        try:
            request = decode_request(line)
        except CpsAuthError:
            continue
        read += 1
        assert request.verb in ("ask", "require", "verify", "last", "code", "ping")
        assert f"cps1 {request.verb} {request.account} {request.service}".encode() == line
        assert time.monotonic() < deadline_s
    assert 0 < read < MESSAGES


def test_the_whole_daemon_in_process(pc: CabinetPc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutated conversations of an ordinary user's process: refused each, and no card is asked."""
    monkeypatch.setattr("pam_helper.daemon.answering.READ_WITHIN_S", 0.2)
    card = pc.insert("doctor")
    chance = random.Random(6)  # noqa: S311 - the same rubbish in every run
    stranger = Peer(os.getpid(), 65534)
    for _ in range(THROUGH_THE_WHOLE_DAEMON):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(_mutate(chance, chance.choice(SEEDS)))
            ours.shutdown(socket.SHUT_WR)
            answer(theirs, stranger, pc.authority, "en")
            theirs.close()
            reply = ours.makefile("rb").read()
        assert not reply.startswith(b"PAM_SUCCESS"), reply
        assert b"unforeseen" not in reply
    assert card.pin_attempts_left == 3
    assert pc.readers.apdu_count == 0
    assert pc.owners.all() == {}


def test_concurrent_rubbish_through_the_real_socket(pc: CabinetPc) -> None:
    """Eight clients at once, as root even: the daemon outlives them and answers the next one."""
    card = pc.insert("doctor")
    replies: list[bytes] = []

    def flood(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - as above
        for _ in range(40):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(10)
                message = _mutate(chance, chance.choice(SEEDS)).replace(b"verify", b"verifx")
                try:
                    connection.connect(str(pc.socket_path))
                    connection.sendall(message)
                    connection.shutdown(socket.SHUT_WR)
                    replies.append(connection.recv(4096))
                except OSError:
                    replies.append(b"")

    threads = [threading.Thread(target=flood, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 320
    assert not any(b"verified" in reply or b"code-accepted" in reply for reply in replies)
    assert not any(b"unforeseen" in reply for reply in replies)
    assert card.pin_attempts_left == 3
    assert pc.ask("verify", pin=b"1234")["code"] == "verified"


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _client(path: str, seed: int, count: int) -> None:
    """Send rubbish, in pieces, with descriptors or half-closed, and print what came back."""
    chance = random.Random(seed)  # noqa: S311 - as above
    yes, answered, descriptor = 0, 0, os.open("/dev/null", os.O_RDONLY)
    for _ in range(count):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            message = _mutate(chance, chance.choice(SEEDS))
            place, way = chance.randrange(len(message) + 1), chance.randrange(4)
            try:
                connection.connect(path)
                connection.sendall(message[:place])
                if way == 0:
                    given = array.array("i", [descriptor] * 9)
                    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, given)
                    connection.sendmsg([message[place:] or b"x"], [rights])
                else:
                    connection.sendall(message[place:])
                if way != 1:
                    connection.shutdown(socket.SHUT_WR)
                    reply = connection.recv(4096)
                    answered += bool(reply)
                    yes += reply.startswith(b"PAM_SUCCESS") or b"unforeseen" in reply
            except OSError:
                continue
    print(yes, answered)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.timeout(120 + CONNECTIONS // 100)
def test_a_strangers_processes_at_the_real_socket(pc: CabinetPc) -> None:
    """Four at a time, as `nobody`, with messages that would be right for root: all is as before."""
    pc.folder.chmod(0o755)
    card = pc.insert("doctor")
    assert pc.ask("ask")["attempts_left"] == 3
    asked, descriptors = pc.readers.apdu_count, _open_descriptors()
    parts = [
        "from __future__ import annotations",
        "import array, os, random, socket, sys",
        f"SEEDS = {SEEDS!r}",
        *(inspect.getsource(part) for part in (_mutate, _client)),
        "_client(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))",
    ]
    source = "\n".join(parts)
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*become, "/usr/bin/python3", "-I", "-S", "-c", source, str(pc.socket_path)]
    logging.disable(logging.CRITICAL)  # a line for each would fill the memory
    try:
        clients = [
            subprocess.Popen([*command, str(n), str(CONNECTIONS // 4)], stdout=subprocess.PIPE)
            for n in range(4)
        ]
        while any(client.poll() is None for client in clients):
            assert pc.ask("ping")["code"] == "alive", "root is answered all the time"
        told = [client.communicate()[0].split() for client in clients]
    finally:
        logging.disable(logging.NOTSET)
    assert [int(yes) for yes, _ in told] == [0] * 4
    assert sum(int(answered) for _, answered in told) > CONNECTIONS // 10
    assert card.pin_attempts_left == 3
    assert pc.readers.apdu_count == asked
    assert pc.owners.all() == {}
    deadline_s = time.monotonic() + 10
    while _open_descriptors() > descriptors + 4:
        assert time.monotonic() < deadline_s, "descriptors stay open"
        time.sleep(0.05)
    assert pc.ask("verify", pin=b"1234")["code"] == "verified"


def test_a_request_reads_back_as_it_was_written() -> None:
    """What the clients write is what the daemon reads."""
    assert decode_request(b"cps1 verify camille xsecurelock") == Request(
        "verify", "camille", "xsecurelock"
    )
