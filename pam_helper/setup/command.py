"""`install` and `uninstall`: shows what will change, tries it aside, then does it, logins last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cps_auth.config import CONFIG_PATH, read_settings
from cps_auth.errors import ConfigurationError
from pam_helper.setup import installation, stack_trial, units
from pam_helper.setup import profile as pam_auth_update
from pam_helper.setup.installation import Step, below
from pam_helper.setup.manifest import read_manifest, write_manifest
from pam_helper.setup.system_files import (
    HELPER,
    PROFILE,
    SHARE,
    InstalledFile,
    PamSide,
    pam_side,
    planned_files,
)

_OWN_STACKS = frozenset(("cps-auth", "cps-auth-or-password"))


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """What the administrator asked for.

    Attributes:
        root: "/" or the root folder of another system.
        dry_run: change nothing.
        profile: let the card log in wherever the password does, by pam-auth-update(8).
        want_module: build pam_cps.so if that is possible here.
        only_daemon: keep other programs off the cards, by polkit.
    """

    root: Path = Path("/")
    dry_run: bool = False
    profile: bool = False
    want_module: bool = True
    only_daemon: bool = False


def install(
    options: SetupOptions, after_step: Callable[[str], None] = lambda _: None
) -> Iterator[Step]:
    """Install; see `pam_helper.setup.installation`.

    Args:
        options: what was asked for.
        after_step: is told the name of each step that is on disk.

    Yields:
        What is done, or would be.

    Raises:
        ConfigurationError: something is in the way or failed. The logins of the system are as
            they were, unless the last step, which switches the profile on, is done.
    """
    root, settings = options.root, read_settings(below(options.root, str(CONFIG_PATH)))
    side = pam_side(root, settings, want_module=options.want_module)
    files = planned_files(side, settings, only_daemon=options.only_daemon)
    steps = installation.plan(root, files)
    if options.profile:
        change = _try_profile(root, side, files)
    if options.dry_run:
        yield from steps
    else:
        yield from installation.install(root, files, after_step)
    if options.profile:
        if not options.dry_run:
            _switch_on(root, after_step)
        yield Step("profile" if change else "keep", "/etc/pam.d/common-auth", diff=change)


def uninstall(
    options: SetupOptions, after_step: Callable[[str], None] = lambda _: None
) -> Iterator[Step]:
    """Uninstall: the logins first, then the service, then the files.

    Yields:
        What is done, or would be.

    Raises:
        ConfigurationError: a PAM service of the system still uses our files, or something
            failed; no service is left that names a file which is gone.
    """
    root = options.root
    manifest = read_manifest(root)
    used_by = sorted(services_that_use_us(root) - ({"common-auth"} if manifest.profile else set()))
    if used_by:
        raise ConfigurationError(
            f"still used by {', '.join(used_by)} in /etc/pam.d: take our lines out there first"
        )
    if manifest.profile:
        if not options.dry_run:
            pam_auth_update.switch_off(root)
            manifest.profile = False
            write_manifest(root, manifest)
            after_step("switched the profile off")
        yield Step("profile", "/etc/pam.d/common-auth", "as before")
    yield from (Step("remove", f"/{link.relative_to(root)}") for link in units.enabled_links(root))
    if not options.dry_run and manifest.files:
        units.switch_off(root)
    yield from installation.uninstall(root, dry_run=options.dry_run, after_step=after_step)
    if not options.dry_run and manifest.files:
        units.forget(root)


def _try_profile(root: Path, side: PamSide, files: tuple[InstalledFile, ...]) -> str:
    """Try the profile aside; return the change of common-auth that it makes."""
    if not pam_auth_update.is_there(root):
        raise ConfigurationError("there is no pam-auth-update on this system")
    profile = next(file.content for file in files if file.place == PROFILE)
    if root == Path("/"):
        _try_lines(side)
    return pam_auth_update.preview(root, profile)


def _try_lines(side: PamSide) -> None:
    """Run the lines that ask for the card, with a module and a helper that are not in place yet."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        lines = side.attempt("ignore", "end")
        if side.module is not None:
            (folder / "pam_cps.so").write_bytes(side.module)
            lines = tuple(line.replace("pam_cps.so", f"{name}/pam_cps.so") for line in lines)
        else:
            (folder / "helper").write_bytes((SHARE / "cps-auth-pam").read_bytes())
            (folder / "helper").chmod(0o755)
            lines = tuple(line.replace(HELPER, f"{name}/helper") for line in lines)
        stack_trial.try_lines(lines)


def _switch_on(root: Path, after_step: Callable[[str], None]) -> None:
    manifest = read_manifest(root)
    manifest.profile = True
    write_manifest(root, manifest)
    after_step("about to switch the profile on")
    pam_auth_update.switch_on(root)
    after_step("switched the profile on")


def services_that_use_us(root: Path) -> set[str]:
    """Return the PAM services of a system that use our stacks, module or helper."""
    found = set()
    for path in below(root, "/etc/pam.d").glob("*"):
        if path.name.removesuffix("~") in _OWN_STACKS or not path.is_file():
            continue
        lines = path.read_text(errors="replace").splitlines()
        used = [line for line in lines if not line.lstrip().startswith("#")]
        if any("cps-auth" in line or "pam_cps.so" in line for line in used):
            found.add(path.name)
    return found
