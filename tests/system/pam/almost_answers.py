"""Root's daemon gone bad, and whoever runs pam_exec's helper: a script for `test_stack.py`.

It takes the daemon's place, in mounts of its own, and prints "done" if nothing opened that should
stay closed.
"""

from __future__ import annotations

import random
import socket
import subprocess
from contextlib import suppress

HELPER = "/usr/lib/cps-auth/cps-auth-pam"
ENVIRONMENT = {"PAM_USER": "games", "PAM_SERVICE": "x", "PAM_TYPE": "auth"}
ALIVE = b"PAM_AUTHINFO_UNAVAIL alive - -\n"
YES = b"PAM_SUCCESS verified - -\n"
CODE_YES = b"PAM_SUCCESS code-accepted - -\nused\n"
USABLE = b"PAM_SUCCESS usable 3 pin\nPIN:\n"
MUTANTS = 400


class BadDaemon:
    """Answers one connection at a time with what it is given."""

    def __init__(self) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind("/run/cps-auth/auth.sock")
        self._listening.listen()

    def serve(
        self, verb: str, reply: bytes, typed: bytes = b"1234", **changed: str
    ) -> tuple[int, bytes, bytes]:
        """Return the helper's exit code, what it said, and what it had sent."""
        with _helper(verb, ENVIRONMENT | changed) as asking:
            assert asking.stdin is not None
            asking.stdin.write(typed)
            asking.stdin.close()
            connection, _ = self._listening.accept()
            with connection:
                sent = connection.recv(300)
                with suppress(BrokenPipeError):
                    connection.sendall(reply)
            code, said = _end_of(asking)
        return code, said, sent

    def is_not_asked(self, typed: bytes, **changed: str) -> bool:
        """Whether the helper refuses by itself."""
        with _helper("verify", ENVIRONMENT | changed) as asking:
            assert asking.stdin is not None
            asking.stdin.write(typed)
            asking.stdin.close()
            code, _ = _end_of(asking)
        self._listening.setblocking(False)
        try:
            self._listening.accept()[0].close()
        except BlockingIOError:
            return code == 1
        finally:
            self._listening.setblocking(True)
        return False


def _helper(verb: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [HELPER, verb, "en"], env=environment, stdin=pipe, stdout=pipe, stderr=pipe
    )


def _end_of(asking: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    assert asking.stdout is not None
    assert asking.stderr is not None
    said, error = asking.stdout.read(), asking.stderr.read()
    code = asking.wait()
    assert (code in (0, 1), error) == (True, b""), (code, error)
    assert not any(byte in said for byte in (b"1234", b"\0", b"\x1b")), said
    return code, said


def _mutated(draw: random.Random) -> bytes:
    whole = draw.choice((YES, CODE_YES, USABLE)) * draw.choice((1, 1, 1, 300))
    reply = bytearray(draw.choice((b"", ALIVE)) + whole)
    for _ in range(draw.randrange(1, 4)):
        place, kind = draw.randrange(len(reply)), draw.randrange(4)
        if kind == 0:
            reply[place:place] = draw.randbytes(draw.randrange(1, 9))
        elif kind == 1 and len(reply) > 99:
            del reply[place : place + draw.randrange(1, 9)]
        elif kind == 2:
            reply[place] = draw.choice(b" -\n\0\x1b\xffPp0")
        else:
            reply += draw.choice((b"\n", b"x", b"\0", YES))
    return bytes(reply)


def _main() -> None:
    daemon = BadDaemon()
    assert daemon.serve("probe", ALIVE + USABLE)[:2] == (0, b"PIN:\n")
    for typed in (b"1234", b"1234\0"):  # as Linux-PAM before 1.5 ended it
        assert daemon.serve("verify", YES, typed) == (0, b"", b"cps1 verify games x\n\x041234")
    code = b"cps1 code games x\n\x0cABCD2345EFGH"
    assert daemon.serve("verify", CODE_YES, b"abcd-2345 efgh\0") == (0, b"used\n", code)
    for verb in ("probe", "verify"):
        for almost in (CODE_YES, USABLE, ALIVE + YES, YES + ALIVE, b"PAM_SUCCESS usable pin\nX\n"):
            assert daemon.serve(verb, ALIVE[:-2] + b"x\n" + almost)[0] == 1
            assert verb == "probe" or daemon.serve(verb, almost)[0] == 1
    assert daemon.serve("probe", ALIVE + b"PAM_SUCCESS usable pin\nX\n")[:2] == (1, b"")
    for typed in (b"", b"123", b"12345", b"1a234", b"12 34", b"password", b"\0" * 600, b"1234\n"):
        assert daemon.is_not_asked(typed), typed
    refused = [{"PAM_USER": "a b"}, {"PAM_SERVICE": "x\ny"}, {"PAM_TYPE": "account"}]
    refused += [{"PAM_RHOST": host} for host in ("203.0.113.5", "localhost.example", "::2")]
    for changed in refused:
        assert daemon.is_not_asked(b"1234", **changed), changed
    for host in ("", "localhost", "127.0.0.1", "::1"):
        assert daemon.serve("verify", YES, PAM_RHOST=host)[0] == 0, host
    draw = random.Random(20261127)  # noqa: S311 - the same mutants each time
    for _ in range(MUTANTS):
        verb, reply = draw.choice(("probe", "verify")), _mutated(draw)
        opened = daemon.serve(verb, reply)[0] == 0
        assert verb == "probe" or opened is (reply == YES), reply


if __name__ == "__main__":
    _main()
    print("done")
