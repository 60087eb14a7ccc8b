"""What an installation puts on a system: every file, its place and its content."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from cps_auth.config import Settings
from cps_auth.errors import ConfigurationError
from pam_helper.setup import pam_module

SHARE = Path(__file__).parents[1] / "share"
HELPER = "/usr/lib/cps-auth/cps-auth-pam"
HELPER_RUNS_ON = Path("/usr/bin/perl")  # its first line
PROFILE = "/usr/share/pam-configs/cps-auth"
POLKIT_RULE = "/etc/polkit-1/rules.d/50-cps-auth.rules"
_MODULE_FOLDERS = (
    *(f"/{top}/{name}/security" for name in ("x86_64-linux-gnu", "aarch64-linux-gnu")
      for top in ("usr/lib", "lib")),
    *(f"/{top}/security" for top in ("usr/lib64", "lib64", "usr/lib", "lib")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file of the installation.

    Attributes:
        place: absolute path on the system.
        content: what it holds as we install it.
        mode: permission bits.
        is_settings: the administrator's own once it is there; another content is fine.
    """

    place: str
    content: bytes
    mode: int = 0o644
    is_settings: bool = False


@dataclass(frozen=True, slots=True)
class PamSide:
    """How PAM reaches the daemon: with the module, or with `pam_exec` where it cannot be built."""

    module: bytes | None
    module_place: str
    language: str

    def attempt(self, on_refusal: str, on_success: str = "done") -> tuple[str, ...]:
        """Return the lines that ask for card and PIN once.

        Args:
            on_refusal: the PAM action after a refusal, such as "die" or "ignore".
            on_success: the PAM action after a yes, such as "done".
        """
        if self.module is not None:
            return (f"[success={on_success} default={on_refusal}] pam_cps.so lang={self.language}",)
        # After both, pam_permit ends the stack: pam_exec has no answer to pam_setcred(3), and a
        # stack that it ended would fail there.
        probe, verify = ("2", "1") if on_refusal == "ignore" else (on_refusal, on_refusal)
        run = f"pam_exec.so quiet stdout {HELPER}"
        typed = f"pam_exec.so quiet expose_authtok stdout {HELPER}"
        return (
            f"[success=ignore default={probe}] {run} probe {self.language}",
            f"[success=ignore default={verify}] {typed} verify {self.language}",
            f"[success={on_success} default={on_refusal}] pam_permit.so",
        )


def pam_side(root: Path, settings: Settings, *, want_module: bool = True) -> PamSide:
    """Return the PAM side for a system, with the module built if that is possible here.

    Args:
        root: "/" or the root folder of another system.
        settings: give the language.
        want_module: False for `pam_exec` whatever is there.

    Raises:
        ConfigurationError: a compiler is there, and the module does not compile; or this system
            has not even what the helper of `pam_exec` runs on.
    """
    folder = next((f for f in _MODULE_FOLDERS if (root / f[1:] / "pam_unix.so").exists()), None)
    usable = want_module and folder is not None and pam_module.obstacle() is None
    if not usable and root == Path("/") and not HELPER_RUNS_ON.exists():
        raise ConfigurationError(f"without pam_cps.so, {HELPER_RUNS_ON} is needed: it is not there")
    return PamSide(
        pam_module.build() if usable else None, f"{folder}/pam_cps.so", settings.language
    )


def planned_files(
    side: PamSide, settings: Settings, *, python: str = sys.executable, only_daemon: bool = False
) -> tuple[InstalledFile, ...]:
    """Return every file of the installation, in the order in which to write them.

    Args:
        side: from `pam_side`.
        settings: say in which services no password counts.
        python: the interpreter in which this package is installed.
        only_daemon: add the polkit rule that keeps other programs off the cards.
    """
    files = [
        InstalledFile(HELPER, (SHARE / "cps-auth-pam").read_bytes(), 0o755),
        InstalledFile("/etc/pam.d/cps-auth", _required(side)),
        InstalledFile("/etc/pam.d/cps-auth-or-password", _or_password(side)),
        InstalledFile(PROFILE, _profile(side, settings)),
        InstalledFile("/etc/systemd/system/cps-auth.socket", _shared("systemd/cps-auth.socket")),
        InstalledFile(
            "/etc/systemd/system/cps-auth.service",
            _shared("systemd/cps-auth.service").replace(b"@PYTHON@", python.encode()),
        ),
        InstalledFile("/etc/cps-auth/config.toml", _shared("config.toml"), is_settings=True),
    ]
    if side.module is not None:
        files.insert(0, InstalledFile(side.module_place, side.module))
    if only_daemon:
        files.append(InstalledFile(POLKIT_RULE, _shared("polkit/49-cps-auth-only-daemon.rules")))
    return tuple(files)


def _shared(name: str) -> bytes:
    return (SHARE / name).read_bytes()


def _required(side: PamSide) -> bytes:
    lines = [f"auth {line}" for line in side.attempt("die")]
    return _fragment("cps-auth.head", [*lines, "auth required pam_deny.so"])


def _or_password(side: PamSide) -> bytes:
    return _fragment("cps-auth-or-password.head", [f"auth {x}" for x in side.attempt("ignore")])


def _fragment(head: str, lines: list[str]) -> bytes:
    return _shared(f"pam.d/{head}") + "\n".join([*lines, ""]).encode()


def _profile(side: PamSide, settings: Settings) -> bytes:
    """Return the profile of pam-auth-update(8): a way in beside the password, where that counts."""
    lines = list(side.attempt("ignore", "end"))
    if settings.pam.card_required:
        services = ":".join(settings.pam.card_required)
        lines.append(f"[success=1 default=ignore] pam_succeed_if.so quiet service notin {services}")
        lines.append("requisite pam_deny.so")
    return _shared("pam-configs/cps-auth.head") + "".join(f"\t{x}\n" for x in lines).encode()
