"""The application of docs/flask.md on two gunicorn workers, behind the proxies of docs/mtls.md."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.free_ports import free_port
from tests.server_certificate import write_server_pem

APP, CPS = "app.localhost", "cps.localhost"
PROXY_ADDRESS = "127.0.0.2"  # the only peer that is trusted, and no test comes from it
CADDY_ADDRESS = "127.0.0.1"  # it cannot be told where to come from
_DOCUMENTS = Path(__file__).parents[3] / "docs"
_DEADLINE_S = 30.0
_POLL_S = 0.02

_AROUND_IT = """
import logging, os
from flask import jsonify
from flask_login import current_user
from werkzeug.middleware.proxy_fix import ProxyFix

log = logging.getLogger("cps_auth.audit")
log.setLevel(logging.INFO)
log.addHandler(logging.FileHandler(os.environ["AUDIT_FILE"]))
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)

@app.get("/me")
@login_required
def me():
    proof = current_user.holder.proof.value
    return jsonify(ps_idnat=current_user.ps_idnat, proof=proof)

@app.after_request
def name_worker(response):
    response.headers["X-Worker"] = str(os.getpid())
    return response
"""

_NGINX = """
daemon off;
pid nginx.pid;
worker_processes 1;
error_log stderr;
user root;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  proxy_bind {source};
{snippet}
}}
"""
_APACHE = """
ServerRoot {folder}
ServerName localhost
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
Mutex posixsem
ErrorLog /dev/stderr
User www-data
Group www-data
Listen 127.0.0.1:{port}
{modules}
SSLSessionCache none
SSLRandomSeed startup builtin
ProxySourceAddress {source}
{snippet}
"""
_APACHE_MODULES = "mpm_event authz_core headers proxy proxy_http socache_shmcb ssl"
_HAPROXY = """
global
    tune.ssl.cachesize 0
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    timeout connect 5s
    timeout client 20s
    timeout server 20s
{snippet}
    source {source}
"""
_CADDY = """
{{
    admin off
    auto_https disable_redirects
    skip_install_trust
    default_bind 127.0.0.1
    storage file_system {folder}
}}
{snippet}
"""


def _snippet(language: str) -> str:
    (text,) = re.findall(
        rf"^```{language}(?:file)?\n(.*?)^```", (_DOCUMENTS / "mtls.md").read_text(), re.M | re.S
    )
    return text


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    location: str | None
    text: str
    worker: str | None


@dataclass(frozen=True)
class ClientKey:
    """A certificate with its key, as a browser holds them."""

    certificate_der: bytes
    pem_file: Path


@dataclass(frozen=True)
class Site:
    """A running application behind a running proxy."""

    proxy: str  # CPS_MTLS_PRESET
    port: int
    gunicorn_port: int
    secret: str
    authority: Path
    audit_file: Path

    @property
    def proxy_address(self) -> str:
        """Where the proxy comes from, as the application sees it."""
        return CADDY_ADDRESS if self.proxy == "caddy" else PROXY_ADDRESS

    @property
    def breaks_off(self) -> bool:
        """Whether the proxy ends the handshake of a client that it refuses."""
        return self.proxy in ("apache", "caddy")

    def origin(self, host: str) -> str:
        """Return the origin of one of the two hosts."""
        return f"https://{host}:{self.port}"

    def audit(self) -> list[str]:
        """Return the lines of the audit log."""
        return self.audit_file.read_text().splitlines() if self.audit_file.exists() else []

    def connect(
        self, sni: str, key: ClientKey | None = None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLSocket:
        """Open a TLS connection to the proxy; the card's key is used in the handshake."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if key is not None:
            context.load_cert_chain(key.pem_file)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=_DEADLINE_S)
        return context.wrap_socket(plain, server_hostname=sni)


@dataclass
class Browser:
    """Keeps cookies per host and, if it has one, presents a certificate where it is asked."""

    site: Site
    key: ClientKey | None = None
    version: ssl.TLSVersion | None = None
    cookies: dict[str, str] = field(default_factory=dict)

    def open(
        self,
        where: str,
        *,
        method: str = "GET",
        body: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        sni: str | None = None,
    ) -> Answer:
        """Open an address, or a path of the application's own host, without following."""
        parts = urlsplit(where if "://" in where else self.site.origin(APP) + where)
        host = parts.hostname or ""
        with self.site.connect(sni or host, self.key, self.version) as tls:
            connection = http.client.HTTPConnection(host)
            connection.sock = tls
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            return self._exchange(connection, method, path, parts.netloc, body, headers)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        netloc: str,
        body: str,
        headers: tuple[tuple[str, str], ...],
    ) -> Answer:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        host = netloc.split(":")[0]
        sent = [("Host", netloc), ("Accept", "text/html"), ("Connection", "close"), *headers]
        if host in self.cookies:
            sent.append(("Cookie", self.cookies[host]))
        if method == "POST":
            sent += [
                ("Origin", f"https://{netloc}"),
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Content-Length", str(len(body))),
            ]
        for name, value in sent:
            connection.putheader(name, value)
        connection.endheaders(body.encode())
        answer = connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie", []):
            self.cookies[host] = cookie.split(";")[0]
        text = answer.read().decode(errors="replace")
        return Answer(answer.status, answer.headers["Location"], text, answer.headers["X-Worker"])

    def start(self) -> str:
        """Press the button of the login page; return where it leads."""
        page = self.open("/cps/login?next=/me").text
        token = page.split('action="/cps/mtls/start"')[1].split('name="cps_token" value="')[1]
        body = f"cps_token={quote(token.split(chr(34))[0])}&next=%2Fme"
        location = self.open("/cps/mtls/start", method="POST", body=body).location
        assert location is not None
        return location

    def log_in(self) -> Answer:
        """Go all the way; stop where it is refused."""
        proved = self.open(self.start())
        return self.open(proved.location) if proved.location else proved

    def is_in(self) -> bool:
        """Whether a page that needs a login is served."""
        return self.open("/me").status == 200


@pytest.fixture(scope="session")
def server_pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of both hosts, self-signed."""
    path = tmp_path_factory.mktemp("server") / "server.pem"
    write_server_pem(path, hosts=(APP, CPS))
    return path


@pytest.fixture(scope="session")
def client_key(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[bytes, object], ClientKey]:
    """Writes a certificate and its key where the ssl module finds them."""
    folder = tmp_path_factory.mktemp("clients")

    def write(der: bytes, key: object) -> ClientKey:
        path = folder / f"{secrets.token_hex(8)}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
        pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
        path.write_bytes(pem + private)
        return ClientKey(der, path)

    return write


@pytest.fixture(scope="session")
def persona_key(
    igc: FakeIgcSante, client_key: Callable[[bytes, object], ClientKey]
) -> Callable[[str], ClientKey]:
    """Gives the authentication certificate and key of a persona's card."""

    def give(name: str) -> ClientKey:
        card = igc.credentials(name)
        return client_key(card.authentication_certificate_der, card.authentication_key)

    return give


@pytest.fixture(scope="module", params=["nginx", "apache", "haproxy", "caddy"])
def site(
    request: pytest.FixtureRequest, igc: FakeIgcSante, igc_dir: Path, server_pem: Path
) -> Iterator[Site]:
    """The application behind each proxy in turn."""
    with tempfile.TemporaryDirectory(prefix="mtls-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        authorities = [*igc.trust_store().anchors, *igc.trust_store().intermediates]
        pems = b"".join(authority.public_bytes(Encoding.PEM) for authority in authorities)
        (folder / "igc-sante.pem").write_bytes(pems)
        for one in igc.trust_store().intermediates:
            name = "-".join(_common_name(one).lower().split()[-2:])
            (folder / f"igc-sante-{name}.pem").write_bytes(one.public_bytes(Encoding.PEM))
        yield _start_site(request.param, folder, igc_dir, server_pem, stack)


def _common_name(certificate: x509.Certificate) -> str:
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


@pytest.fixture
def visit(site: Site) -> Callable[..., Browser]:
    """Gives a new browser; `key` is what it presents."""
    return lambda key=None, version=None: Browser(site, key, version)


def _start_site(
    proxy: str, folder: Path, igc_dir: Path, server_pem: Path, stack: contextlib.ExitStack
) -> Site:
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    gunicorn_port = listener.getsockname()[1]
    secret = secrets.token_urlsafe()
    for _ in range(5):  # somebody may take the port between the look and the use
        port = free_port()
        site = Site(proxy, port, gunicorn_port, secret, server_pem, folder / "audit.log")
        process = _start_proxy(site, folder, server_pem)
        if _listens(port, process):
            stack.callback(_end, process)
            break
        _end(process)
    else:
        pytest.fail(f"{proxy} does not start:\n" + (folder / "proxy.log").read_text())
    stack.callback(_end, _start_gunicorn(site, folder, igc_dir, listener))
    _await_workers(site, folder)
    return site


def _start_gunicorn(
    site: Site, folder: Path, igc_dir: Path, listener: socket.socket
) -> subprocess.Popen[bytes]:
    documented = (_DOCUMENTS / "flask.md").read_text()
    application = re.findall(r"^```python\n(.*?)^```", documented, re.M | re.S)[0]
    (folder / "practice_app.py").write_text(application + _AROUND_IT)
    config = {
        "SECRET_KEY": secrets.token_hex(),
        "CPS_ORIGIN": site.origin(APP),
        "CPS_DATABASE": str(folder / "sessions.sqlite3"),
        "CPS_TRUST": str(igc_dir),
        "CPS_MTLS_PROXIES": json.dumps([site.proxy_address]),
        "CPS_MTLS_PRESET": site.proxy,
        "CPS_MTLS_ORIGIN": site.origin(CPS),
        "CPS_MTLS_SECRET": site.secret,
        "CPS_REQUESTS_PER_MINUTE": "100000",
        "CPS_REFUSALS_BEFORE_LOCKOUT": "100000",
    }
    env = {f"FLASK_{name}": value for name, value in config.items()}
    return _spawn(
        folder,
        "gunicorn",
        [
            *(sys.executable, "-m", "gunicorn", "--workers", "2", "--chdir", str(folder)),
            *("--bind", f"fd://{listener.fileno()}", "--worker-tmp-dir", str(folder)),
            *("--no-control-socket", "practice_app:app"),
        ],
        pass_fds=(listener.fileno(),),
        env={**env, "AUDIT_FILE": str(site.audit_file), "PATH": "/usr/bin:/bin"},
    )


def _start_proxy(site: Site, folder: Path, server_pem: Path) -> subprocess.Popen[bytes]:
    names = {
        r"app\.example\.fr": APP,
        r"cps\.example\.fr": CPS,
        r"/etc/ssl/[a-z-]+\.(pem|key)": str(server_pem),
        r"/etc/cps-auth/igc-sante": str(folder / "igc-sante"),
        r"/etc/haproxy/cps\.crt-list": str(folder / "cps.crt-list"),
        r"127\.0\.0\.1:8000": f"127.0.0.1:{site.gunicorn_port}",
        rf"(?m)^{APP} {{$": f"{site.origin(APP)} {{\n    tls {server_pem} {server_pem}",
        rf"(?m)^{CPS} {{$": f"{site.origin(CPS)} {{",
        r"    tls {": f"    tls {server_pem} {server_pem} {{",
        r"the secret": site.secret,
        r"listen 443": f"listen 127.0.0.1:{site.port}",
        r"\*:443": f"127.0.0.1:{site.port}",
        r"bind :443": f"bind 127.0.0.1:{site.port}",
    }

    def local(text: str) -> str:
        for there, here in names.items():
            text = re.sub(there, here, text)
        return text

    whole = {"nginx": _NGINX, "apache": _APACHE, "haproxy": _HAPROXY, "caddy": _CADDY}[site.proxy]
    where = "/usr/lib/apache2/modules"
    configuration = whole.format(
        snippet=local(_snippet(site.proxy)),
        source=PROXY_ADDRESS,
        folder=folder,
        port=site.port,
        modules="\n".join(
            f"LoadModule {name}_module {where}/mod_{name}.so" for name in _APACHE_MODULES.split()
        ),
    )
    (folder / "proxy.conf").write_text(configuration)
    (folder / "cps.crt-list").write_text(local(_snippet("crt-list")))
    conf = str(folder / "proxy.conf")
    command = {
        "nginx": ["/usr/sbin/nginx", "-p", str(folder), "-e", "stderr", "-c", conf],
        "apache": ["/usr/sbin/apache2", "-f", conf, "-D", "FOREGROUND"],
        "haproxy": ["/usr/sbin/haproxy", "-db", "-f", conf],
        "caddy": ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", conf],
    }[site.proxy]
    return _spawn(folder, "proxy", command, env={**os.environ, "HOME": str(folder)})


def _spawn(
    folder: Path,
    name: str,
    command: list[str],
    pass_fds: tuple[int, ...] = (),
    env: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=pass_fds, env=env
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        time.sleep(_POLL_S)
    return False


def _await_workers(site: Site, folder: Path) -> None:
    """Wait until both workers answer."""
    seen: set[str | None] = set()
    deadline = time.monotonic() + _DEADLINE_S
    while len(seen - {None}) < 2:
        if time.monotonic() > deadline:
            log = textwrap.indent((folder / "gunicorn.log").read_text(), "  ")
            pytest.fail(f"gunicorn's two workers never answered:\n{log}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            seen.add(Browser(site).open("/cps/login").worker)
