"""A real proxy in front of gunicorn with two workers, and a browser with a client certificate."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hardware_mocks.igc import FakeIgcSante

DEADLINE_S = 30.0
ROOT = Path(__file__).parents[3]


def application_of_the_docs() -> str:
    """Return the application of fifteen lines, as docs/flask.md shows it."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "flask.md").read_text(), re.DOTALL)
    return blocks[0]


@dataclass
class Answer:
    """What came back."""

    status: int
    text: str
    location: str


@dataclass
class Browser:
    """Keeps cookies per host, sends a client certificate where it has one."""

    context: ssl.SSLContext
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    def ask(
        self, method: str, url: str, form: dict[str, str] | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> Answer:  # fmt: skip
        """Send one request; `headers` as they are, twice if given twice."""
        parts = urlsplit(url)
        jar = self.cookies.setdefault(parts.netloc, {})
        body = urlencode(form).encode() if form is not None else b""
        connection = http.client.HTTPSConnection(parts.netloc, context=self.context, timeout=20)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.putrequest(method, path)
        if jar:
            pairs = "; ".join(f"{name}={value}" for name, value in jar.items())
            connection.putheader("Cookie", pairs)
        if method == "POST":
            connection.putheader("Origin", f"{parts.scheme}://{parts.netloc}")
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Content-Length", str(len(body)))
        for name, value in headers or []:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            jar[name] = value
        connection.close()
        return Answer(answer.status, text, answer.headers.get("Location", ""))


@dataclass
class Site:
    """Two hosts of one proxy: the application's own, and the one that asks for certificates."""

    origin: str
    mtls_origin: str
    log: Path

    def audit(self) -> str:
        """Return what the application wrote so far."""
        return self.log.read_text()


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of both hosts, in one folder."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out",
         "tls.crt", "-days", "2", "-subj", "/CN=localhost"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    both = (folder / "tls.crt").read_text() + (folder / "tls.key").read_text()
    (folder / "both.pem").write_text(both)
    return folder


@pytest.fixture(scope="session")
def trusted_pem(igc: FakeIgcSante, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authorities, as proxies want them."""
    file = tmp_path_factory.mktemp("authorities") / "authorities.pem"
    names = ("fort", "fort-personnes", "standard", "standard-personnes")
    file.write_bytes(
        b"".join(igc.authorities[name].certificate.public_bytes(Encoding.PEM) for name in names)
    )
    return file


@pytest.fixture
def browser_of(igc: FakeIgcSante, tmp_path: Path) -> Callable[[str | None], Browser]:
    """Gives a browser with the certificate of a persona, or without any."""

    def make(persona: str | None) -> Browser:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if persona is not None:
            card = igc.credentials(persona)
            certificate = x509.load_der_x509_certificate(card.authentication_certificate_der)
            file = tmp_path / f"{persona}.pem"
            file.write_bytes(
                certificate.public_bytes(Encoding.PEM)
                + card.authentication_key.private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
                )
            )
            context.load_cert_chain(file)
        return Browser(context)

    return make


def two_free_ports() -> tuple[int, int]:
    """Return ports that nobody has at this moment."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


MakeSite = Callable[[str], Site]


@pytest.fixture
def make_site(igc_dir: Path, tls_files: Path, trusted_pem: Path) -> Iterator[MakeSite]:
    """Starts a proxy by name, with the application of the documentation behind it."""
    running: list[subprocess.Popen[bytes]] = []
    folder = Path(tempfile.mkdtemp(prefix="mtls-"))
    folder.chmod(0o755)

    def run(command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        with log.open("ab") as output:
            running.append(
                subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=env)
            )

    def make(proxy: str) -> Site:
        for _ in range(3):  # somebody may take a port between the look and the use
            ports = two_free_ports()
            origin, mtls_origin = (f"https://localhost:{port}" for port in ports)
            site = Site(origin, mtls_origin, folder / "app.log")
            write_configuration(folder, proxy, ports, tls_files, trusted_pem)
            run(proxy_command(folder, proxy), folder / "proxy.log")
            if await_port(ports[0], running[-1]):
                break
        else:
            pytest.fail((folder / "proxy.log").read_text())
        start_application(folder, proxy, site, igc_dir, run)
        return site

    yield make
    for process in reversed(running):
        process.terminate()
    for process in running:
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE_S)
    shutil.rmtree(folder, ignore_errors=True)


def await_port(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until somebody listens; not after the process has ended."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def start_application(
    folder: Path, proxy: str, site: Site, igc_dir: Path, run: Callable[..., None]
) -> None:
    """Start gunicorn with two workers on a Unix socket, and wait until both have begun."""
    (folder / "practice.py").write_text(
        "import logging\nlogging.basicConfig(level=logging.INFO)\n" + application_of_the_docs()
    )
    env = {
        **os.environ,
        "FLASK_SECRET_KEY": "shared by the workers",
        "FLASK_CPS_ORIGIN": site.origin,
        "FLASK_CPS_MTLS_ORIGIN": site.mtls_origin,
        "FLASK_CPS_MTLS_PROXY": proxy,
        "FLASK_CPS_MTLS_PEERS": '["unix"]',
        "FLASK_CPS_TRUST": str(igc_dir),
        "FLASK_CPS_DATABASE": str(folder / "sessions.sqlite3"),
    }
    socket_file = folder / "app.sock"
    command = [
        sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"unix:{socket_file}",
        "--umask", "0", "--no-control-socket", "practice:app",
    ]  # fmt: skip
    run(command, site.log, env)
    deadline = time.monotonic() + DEADLINE_S
    while site.log.exists() and site.log.read_text().count("Booting worker") < 2:
        assert time.monotonic() < deadline, site.log.read_text()
        time.sleep(0.05)


def proxy_command(folder: Path, proxy: str) -> list[str]:
    """Return what starts a proxy in the foreground."""
    return {
        "nginx": ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), "-g",
                  "daemon off;"],
        "apache": ["apache2", "-X", "-d", str(folder), "-f", str(folder / "apache.conf")],
        "haproxy": ["haproxy", "-db", "-f", str(folder / "haproxy.conf")],
    }[proxy]  # fmt: skip


def write_configuration(
    folder: Path, proxy: str, ports: tuple[int, int], tls: Path, authorities: Path
) -> None:
    """Write a proxy's configuration: the lines of docs/mtls.md in a frame for a test."""
    names = {
        "OWN": str(ports[0]), "MTLS": str(ports[1]), "TLS": str(tls), "FOLDER": str(folder),
        "AUTHORITIES": str(authorities), "SOCKET": str(folder / "app.sock"),
    }  # fmt: skip
    text = (Path(__file__).with_name(f"{proxy}.conf")).read_text()
    for name, value in names.items():
        text = text.replace(f"@{name}@", value)
    (folder / f"{proxy}.conf").write_text(text)
