"""The same application under every WSGI server: each logs a persona in by the PIN form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flask.servers.conftest import Serve
from tests.pin_traces import pin_traces

SERVERS = {
    "werkzeug": "flask --app {app} run --port {port}",
    "gunicorn-sync": "gunicorn -b 127.0.0.1:{port} {app}",
    "gunicorn-gthread": "gunicorn -b 127.0.0.1:{port} --threads 4 {app}",
    "gunicorn-preload": "gunicorn -b 127.0.0.1:{port} --preload --threads 4 {app}",
    "uwsgi": "pyuwsgi --http-socket 127.0.0.1:{port} --module {app} --master --threads 4",
    "uwsgi-http": "pyuwsgi --http 127.0.0.1:{port} --module {app} --master --threads 4",
    "waitress": "waitress-serve --listen=127.0.0.1:{port} {app}",
    "cheroot": "cheroot --bind 127.0.0.1:{port} {app}",
    "hypercorn": "hypercorn --bind 127.0.0.1:{port} {app}",
    "uvicorn": "uvicorn --interface wsgi --port {port} {app}",
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_persona_logs_in(serve: Serve, tmp_path: Path, server: str) -> None:
    """Wrong PIN, right PIN, page; the log holds no PIN and no traceback."""
    browser = serve(*SERVERS[server].split())
    assert browser.open("GET", "/")[0] == 302
    assert browser.log_in("4071")[0] == 401
    assert browser.log_in() == (303, "/")
    assert browser.open("GET", "/")[0] == 200
    log = (tmp_path / "log").read_text()
    assert pin_traces(b"4071", log) == []
    assert "Traceback" not in log


def test_several_processes_are_noticed_at_the_first_request(serve: Serve, tmp_path: Path) -> None:
    """A local reader's sessions live in one process: with two nobody is let in, and told."""
    browser = serve("gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "{app}")
    assert browser.open("GET", "/cps/login")[0] == 403
    assert browser.open("GET", "/open")[0] == 200
    assert "gunicorn -w 1 --threads 8" in (tmp_path / "log").read_text()
