"""The demo's story, as `./dev demo --once` plays it, and the demo as a program."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.fake_igc import FakeIgcSante
from webdemo.application import create_app, stop_app
from webdemo.desk import VirtualDesk
from webdemo.serve import bind_loopback
from webdemo.story import play


def test_every_step_holds(igc: FakeIgcSante, judge: Judge) -> None:
    """The whole story over real HTTP, each step with its check mark."""
    told: list[str] = []
    assert play(igc, judge, told.append) is True
    assert len(told) == 11
    assert all("✓" in line for line in told[:-1])


def test_a_step_that_does_not_hold_is_named(igc: FakeIgcSante, judge: Judge) -> None:
    """Without revocation lists no card can be admitted: the story says where it broke."""
    blind = Judge(judge.trust, CrlStore(()))
    told: list[str] = []
    assert play(igc, blind, told.append) is False
    assert "card_in" in told[-1]
    assert "✗" in told[-1]


def test_the_command_exits_0_only_for_the_whole_story(igc_dir: Path) -> None:
    """`--once` is what scripts look at."""
    done = _webdemo("--mock-reader", "--once", "--pki", str(igc_dir))
    out, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")
    assert "Every step held." in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_stops_cleanly(igc_dir: Path, number: int) -> None:
    """It prints where it serves, serves there, and ends without a traceback."""
    program = _webdemo("--mock-reader", "--port", "0", "--pki", str(igc_dir))
    assert program.stdout is not None
    url = program.stdout.readline().split()[3]
    with urllib.request.urlopen(url + "cps/login", timeout=20) as page:  # noqa: S310 (loopback)
        assert b"Tilleuls" in page.read()
    program.send_signal(number)
    _, err = program.communicate(timeout=20)
    assert program.returncode == 0
    assert "Traceback" not in err


def test_the_next_free_port_is_taken() -> None:
    """A port that is in use is no reason not to start, unless it was asked for."""
    with bind_loopback(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="taken"):
            bind_loopback(port)
        with bind_loopback(port, or_next_free=True) as other:
            assert port < other.getsockname()[1] <= port + 20
    assert isinstance(taken, socket.socket)


@pytest.fixture
def demo(desk: VirtualDesk, judge: Judge, tmp_path: Path):
    """The practice application with its virtual desk."""
    config = {"CPS_ORIGIN": "http://127.0.0.1:5000", "CPS_DATABASE": tmp_path / "demo.sqlite3"}
    app = create_app(config, cards=desk.cards, judge=judge, mock_panel=desk)
    yield app
    stop_app(app)


def test_the_panel_plays_only_with_its_token(demo, visit, desk: VirtualDesk) -> None:
    """Another site cannot pull or insert cards through the panel."""
    visitor = visit(demo)
    assert visitor.post("/mock/insert", {"persona": "doctor"}).status_code == 403
    assert desk.inserted is None
    token = visitor.form()["cps_token"]
    form = {"cps_token": token, "persona": "doctor"}
    assert visitor.post("/mock/insert", form).status_code == 200
    assert desk.inserted == "doctor"
    assert visitor.post("/mock/nonsense", form).status_code == 404


def test_without_a_desk_there_is_no_panel(desk: VirtualDesk, judge: Judge, tmp_path, visit) -> None:
    """With real readers the blueprint does not exist."""
    config = {"CPS_ORIGIN": "http://127.0.0.1:5000", "CPS_DATABASE": tmp_path / "demo.sqlite3"}
    app = create_app(config, cards=desk.cards, judge=judge)
    visitor = visit(app)
    assert visitor.post("/mock/insert", {"persona": "doctor"}).status_code == 404
    assert "desk" not in visitor.get("/cps/login").text
    stop_app(app)


def _webdemo(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "webdemo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
