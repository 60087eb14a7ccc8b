"""The package on a bare tree of this release of Debian: its dpkg, its pam-auth-update, its su."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PASSWORD = "un-mot-de-passe"
INCLUDED = {"bookworm": "python3,pcscd"}
"""What the package depends on, but for polkitd, which debootstrap cannot configure."""
INCLUDED_SINCE_TRIXIE = "python3,pcscd,dbus,libpam-systemd"
"""pcscd depends on polkitd there, and that on what only these two provide."""
INSTALL = ("--force-depends", "--force-unsafe-io", "-i", "/cps-auth.deb")
SETUP = ("cps-auth", "pc", "setup", "--language", "en", "--no-enrol", "--no-fetch")

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]  # the first one fetches a Debian


def _release() -> str:
    if os.geteuid() != 0:
        pytest.skip("a Debian tree can be made by root only")
    lines = dict(x.split("=", 1) for x in Path("/etc/os-release").read_text().splitlines() if x)
    if lines.get("ID") != "debian" or shutil.which("debootstrap") is None:
        pytest.skip("not a Debian with debootstrap")
    return lines["VERSION_CODENAME"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built by `packaging/build` for this release."""
    _release()
    folder = tmp_path_factory.mktemp("package")
    subprocess.run([ROOT / "packaging/build", folder], check=True, capture_output=True, timeout=800)
    (package,) = folder.glob("cps-auth_*.deb")
    return package


@pytest.fixture(scope="module")
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare Debian of this release, from where this machine gets its packages; kept as a tar."""
    release = _release()
    assert request.config.cache is not None
    included = INCLUDED.get(release, INCLUDED_SINCE_TRIXIE)
    kept = request.config.cache.mkdir("debian") / f"{release}-{included.replace(',', '-')}.tar"
    if not kept.exists():
        asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
        mirrors = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
        root = tmp_path_factory.mktemp("debootstrap") / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={included}", release, str(root)]
        done = subprocess.run([*command, *mirrors[:1]], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip("debootstrap fetched no Debian tree: " + done.stdout.decode()[-200:])
        subprocess.run(["tar", "-cf", f"{kept}.new", "-C", root, "."], check=True)
        Path(f"{kept}.new").rename(kept)
    return kept


class Debian:
    """A Debian in a folder, with an account that has a password."""

    def __init__(self, root: Path, base: Path, package: Path) -> None:
        self.root = root
        root.mkdir()
        subprocess.run(["tar", "-xf", base, "--numeric-owner", "-C", root], check=True)
        root.chmod(0o755)
        self.run("useradd", "-m", "camille")
        self.run("chpasswd", typed=f"camille:{PASSWORD}")
        shutil.copy(package, root / "cps-auth.deb")

    def command(self, *words: str) -> list[str]:
        """Return what runs a command in it, with a /proc of its own; killed, all of it ends."""
        namespaces = ["unshare", "-m", "-p", "--fork", "--kill-child", "--mount-proc"]
        inside = f'mount -t proc proc {self.root}/proc && exec chroot {self.root} "$@"'
        return [*namespaces, "sh", "-c", inside, "sh", *words]

    def run(
        self, *words: str, typed: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        done = subprocess.run(
            self.command(*words),
            input=typed,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
            | {"DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0 or not check, (words, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def run_until(self, line: int, *words: str) -> bool:
        """Run dpkg and kill it with its children at its n-th report; return if it came so far."""
        command = self.command("dpkg", "--status-fd", "1", *words)
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"},
        ) as dpkg:
            assert dpkg.stdout is not None
            reports = 0
            for said in dpkg.stdout:
                reports += said.startswith((b"status:", b"processing:"))
                if reports == line:
                    dpkg.kill()
                    return True
        return False

    def install(self) -> None:
        """Install the package, or upgrade it."""
        self.run("dpkg", *INSTALL)

    def can_log_in(self, password: str = PASSWORD) -> bool:
        """Return whether the account gets in by its password, as an ordinary user's su asks."""
        words = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        done = self.run(
            *words, "su", "camille", "-c", "echo in", typed=f"{password}\n", check=False
        )
        return done.stdout.strip() == "in"

    def tree(self) -> dict[str, tuple[int, int, str]]:
        """Return mode, owner and content of every file, but for what dpkg and logins write."""
        found = {}
        for top in ("etc", "usr", "var", "run"):
            for folder, folders, files in os.walk(self.root / top):
                if folder.endswith(("var/log", "var/cache", "var/lib/dpkg")):
                    folders.clear()
                    continue
                for name in folders + files:
                    path = Path(folder, name)
                    status = path.lstat()
                    content = path.read_bytes() if path.is_file() else b""
                    digest = hashlib.sha256(content).hexdigest()
                    place = str(path.relative_to(self.root))
                    found[place] = (status.st_mode, status.st_uid, digest)
        return found

    def common_auth(self) -> str:
        """Return the stack that every login includes."""
        return (self.root / "etc/pam.d/common-auth").read_text()


@pytest.fixture(scope="module")
def made(base: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """The Debian of all tests."""
    yield (made := Debian(tmp_path_factory.mktemp("debian") / "root", base, package))
    shutil.rmtree(made.root)


@pytest.fixture
def debian(made: Debian) -> Iterator[Debian]:
    """A Debian as it was before the package: a purge leaves but the practice's own."""
    yield made
    made.run("dpkg", "-P", "cps-auth")
    for left in ("etc/cps-auth", "var/lib/cps-auth"):
        shutil.rmtree(made.root / left, ignore_errors=True)


def _difference(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}


def test_installed_upgraded_removed_and_purged(debian: Debian) -> None:
    """No login changes by it; purge leaves accounts, settings and the audit journal, as it says."""
    before = debian.tree()
    debian.install()
    installed = debian.tree()
    for place in ("etc/pam.d/common-auth", "etc/pam.d/su", "etc/shadow"):
        assert installed[place] == before[place]
    for place in (
        *("usr/share/man/man1/cps-auth.1.gz", "usr/share/man/fr/man1/cps-auth.1.gz"),
        *("usr/share/bash-completion/completions/cps-auth", "usr/bin/cps-auth-native-host"),
        "etc/systemd/system/timers.target.wants/cps-auth-trust-update.timer",
        "etc/systemd/system/sockets.target.wants/cps-auth.socket",
        "usr/share/polkit-1/rules.d/50-cps-auth.rules",
    ):
        assert place in installed, place
    debian.install()
    assert _difference(installed, debian.tree()) == set()
    for name in ("accounts.toml", "config.toml"):
        (debian.root / "etc/cps-auth" / name).write_text("# the practice's own\n")
    debian.run("dpkg", "-r", "cps-auth")
    assert not (debian.root / "usr/lib/cps-auth").exists()
    assert {place for place in _difference(before, debian.tree()) if "pam.d" in place} == {
        *("etc/pam.d/cps-auth", "etc/pam.d/cps-auth-or-password"),  # conffiles
    }
    kept = debian.root / "var/lib/cps-auth"
    for folder in ("audit", "crl", "trust"):
        (kept / folder).mkdir(parents=True, exist_ok=True)
        (kept / folder / "one").write_text("line")
    assert "audit journal stays" in debian.run("dpkg", "-P", "cps-auth").stderr
    own = {"etc/cps-auth", "etc/cps-auth/accounts.toml", "etc/cps-auth/config.toml"}
    evidence = {"var/lib/cps-auth", "var/lib/cps-auth/audit", "var/lib/cps-auth/audit/one"}
    assert _difference(before, debian.tree()) == own | evidence
    assert debian.can_log_in()


def test_the_practitioners_own_command_works(debian: Debian) -> None:
    """It is on the PATH and finds its libraries; what the daemon keeps of trust may be read."""
    debian.install()
    trust = debian.root / "var/lib/cps-auth/trust"
    trust.mkdir()
    as_camille = ("setpriv", "--reuid=camille", "--regid=camille", "--clear-groups")
    assert "version" in debian.run(*as_camille, "cps-auth", "--version").stdout
    assert debian.run(*as_camille, "ls", "/var/lib/cps-auth/trust").stdout == ""
    done = debian.run(*as_camille, "cps-auth", "doctor", "--json", check=False)
    assert '"ok":false' in done.stdout
    assert "unforeseen" not in done.stdout, "missing authorities and readers are told as such"
    accounts = debian.run(*as_camille, "cps-auth", "pc", "accounts", check=False)
    assert "cps-auth[cabinet]" not in accounts.stderr


def test_the_login_is_switched_on_by_setup_and_off_by_removal(debian: Debian) -> None:
    """The password stays a way in, but for services in which the card is required."""
    before = debian.common_auth()
    debian.install()
    done = debian.run(*SETUP, "--required", "none", check=False)
    assert "pam_cps.so" in debian.common_auth(), done.stdout + done.stderr
    assert "BAD" not in done.stdout
    assert debian.can_log_in(), "with no daemon at all"
    assert not debian.can_log_in("wrong")
    on = debian.common_auth()
    debian.install()
    assert debian.common_auth() == on, "an upgrade leaves it on"
    debian.run(*SETUP, "--required", "su", check=False)
    lines = [x.split() for x in debian.common_auth().splitlines() if x.startswith("auth")]
    modules = [next(word for word in line if word.endswith(".so")) for line in lines]
    assert modules[:4] == ["pam_cps.so", "pam_succeed_if.so", "pam_deny.so", "pam_unix.so"]
    assert lines[0][1] == f"[success={modules.index('pam_permit.so') - 1}"
    assert "try_first_pass" in lines[3]
    assert not debian.can_log_in(), "a card is required, and the daemon is not even there"
    debian.run(*SETUP, "--required", "none", check=False)
    assert debian.common_auth() == on
    assert debian.can_log_in()
    debian.run("dpkg", "-r", "cps-auth")
    assert debian.common_auth() == before
    assert not (debian.root / "usr/share/pam-configs/cps-auth-required").exists()


def test_a_service_that_uses_a_stack_keeps_it(debian: Debian) -> None:
    """Removal is refused, and names the service: without its stack it would let nobody in."""
    debian.install()
    login = debian.root / "etc/pam.d/login"
    before = login.read_text()
    login.write_text("@include cps-auth-or-password\n" + before)
    done = debian.run("dpkg", "-r", "cps-auth", check=False)
    assert done.returncode != 0
    assert "/etc/pam.d/login" in done.stderr
    assert (debian.root / "etc/pam.d/cps-auth-or-password").exists()
    assert "ok installed" in debian.run("dpkg", "-s", "cps-auth").stdout
    login.write_text(before)


def test_an_earlier_installation_is_not_covered_up(debian: Debian) -> None:
    """What `python -m pam_helper install` of 0.1.0 wrote would win over the package's files."""
    old = debian.root / "var/lib/cps-auth/installed.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    done = debian.run("dpkg", *INSTALL, check=False)
    assert done.returncode != 0
    assert "python -m pam_helper uninstall" in done.stderr
    assert not (debian.root / "usr/bin/cps-auth").exists()
    old.unlink()


def test_interrupted_anywhere_one_can_log_in(debian: Debian) -> None:
    """dpkg is killed at each report of an upgrade and of a removal; then it is finished."""
    before = debian.common_auth()
    debian.install()
    debian.run(*SETUP, "--required", "none", check=False)
    for words in (INSTALL, ("-r", "cps-auth")):
        reports = 1
        while debian.run_until(reports, *words):
            assert debian.can_log_in(), (words, reports)
            debian.install()
            debian.run("pam-auth-update", "--enable", "cps-auth")
            assert "pam_cps.so" in debian.common_auth()
            reports += 1
        assert reports > 2
    assert debian.common_auth() == before
    assert debian.can_log_in()
    assert not debian.can_log_in("wrong")
