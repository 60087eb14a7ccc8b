"""The table of allowed imports, and the few names that only one module may make or touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = ("cps_auth", "pam_helper", "webdemo", "hardware_mocks")

MODULES_A_FOLDER = 14
"""At most; beyond that nobody finds anything by reading a folder's names."""

ALLOWED = {
    # a module or folder of modules: what of the project it may import, besides its own folder
    "cps_auth.errors": (),
    "cps_auth.model": ("cps_auth.provider_model",),
    "cps_auth.provider_model": (),
    "cps_auth.wording": ("cps_auth.errors",),
    "cps_auth.exit_codes": ("cps_auth.errors",),
    "cps_auth.audit": ("cps_auth.files", "cps_auth.model", "cps_auth.errors"),
    "cps_auth.config": (
        "cps_auth.errors",
        "cps_auth.files",
        "cps_auth.pki.revocation.policy",
        "cps_auth.toml_file",
    ),
    "cps_auth.toml_file": ("cps_auth.errors",),
    "cps_auth.files": ("cps_auth.errors",),
    "cps_auth.der": (),
    "cps_auth.cache": (),
    "cps_auth.backoff": (),
    "cps_auth.main_thread": (),
    "cps_auth.pin_entry": ("cps_auth.errors",),
    "cps_auth.session_lock": ("cps_auth.model",),
    "cps_auth.card": ("cps_auth.backoff", "cps_auth.der", "cps_auth.model", "cps_auth.errors"),
    "cps_auth.pki": (
        "cps_auth.files",
        "cps_auth.der",
        "cps_auth.cache",
        "cps_auth.model",
        "cps_auth.errors",
    ),
    "cps_auth.login": (
        "cps_auth.model",
        "cps_auth.provider_model",
        "cps_auth.errors",
        "cps_auth.pki",
        "cps_auth.card.port",
    ),
    "cps_auth.flask": (
        "cps_auth.backoff",
        "cps_auth.files",
        "cps_auth.der",
        "cps_auth.cache",
        "cps_auth.audit",
        "cps_auth.model",
        "cps_auth.provider_model",
        "cps_auth.errors",
        "cps_auth.wording",
        "cps_auth.login",
        "cps_auth.pki.judge",
        "cps_auth.pki.certificate.nomenclature",
        "cps_auth.pki.open",
        "cps_auth.pki.revocation.policy",
        "cps_auth.card.port",
    ),
    "cps_auth.native_host": (
        "cps_auth.backoff",
        "cps_auth.files",
        "cps_auth.model",
        "cps_auth.errors",
        "cps_auth.exit_codes",
        "cps_auth.wording",
        "cps_auth.config",
        "cps_auth.pin_entry",
        "cps_auth.login.challenge",
        "cps_auth.login.web_eid",
        "cps_auth.pki.certificate",
        "cps_auth.pki.judge",
        "cps_auth.pki.open",
        "cps_auth.card.port",
        "cps_auth.card.open",
    ),
    "cps_auth.native_host.pin_window_program": (),
    "cps_auth.cli": (
        "cps_auth.files",
        "cps_auth.audit",
        "cps_auth.config",
        "cps_auth.model",
        "cps_auth.errors",
        "cps_auth.exit_codes",
        "cps_auth.wording",
        "cps_auth.main_thread",
        "cps_auth.pin_entry",
        "cps_auth.login.verify",
        "cps_auth.pki",
        "cps_auth.card.port",
        "cps_auth.card.open",
        "cps_auth.card.reader_name",
        "cps_auth.card.usb",
        "cps_auth.card.native.models",
        "cps_auth.native_host.manifests",
        "cps_auth.native_host.pin_window",
    ),
    "cps_auth.cli.pc": ("cps_auth", "pam_helper"),
    "cps_auth.cli.doctor": ("cps_auth", "pam_helper.setup.check"),
    "cps_auth.__main__": ("cps_auth.cli.main",),
    "cps_auth": (),
    "pam_helper": (
        "cps_auth.backoff",
        "cps_auth.audit",
        "cps_auth.files",
        "cps_auth.model",
        "cps_auth.errors",
        "cps_auth.wording",
        "cps_auth.config",
        "cps_auth.toml_file",
        "cps_auth.pin_entry",
        "cps_auth.main_thread",
        "cps_auth.session_lock",
        "cps_auth.cli.diagnostics",
        "cps_auth.login",
        "cps_auth.pki",
        "cps_auth.card.port",
        "cps_auth.card.open",
    ),
    "webdemo": ("cps_auth", "hardware_mocks"),
    "hardware_mocks": ("cps_auth",),
}
"""The longest matching key holds. `webdemo` sees the mocks because its program passes them."""

NEVER = {
    # a room: what of its own house it never imports, so that the walk through it has one direction
    "cps_auth.card.pcsc": ("cps_auth.card.native", "cps_auth.card.pkcs11", "cps_auth.card.open"),
    "cps_auth.card.native": ("cps_auth.card.pcsc", "cps_auth.card.pkcs11", "cps_auth.card.open"),
    "cps_auth.card.pkcs11": ("cps_auth.card.pcsc", "cps_auth.card.open"),
    "cps_auth.pki.certificate": (
        "cps_auth.pki.chain",
        "cps_auth.pki.revocation",
        "cps_auth.pki.upkeep",
        "cps_auth.pki.judge",
        "cps_auth.pki.open",
    ),
    "cps_auth.pki.chain": (
        "cps_auth.pki.revocation",
        "cps_auth.pki.upkeep",
        "cps_auth.pki.judge",
        "cps_auth.pki.open",
    ),
    "cps_auth.pki.revocation": ("cps_auth.pki.upkeep", "cps_auth.pki.judge", "cps_auth.pki.open"),
    "cps_auth.pki.upkeep": ("cps_auth.pki.judge", "cps_auth.pki.open"),
    "pam_helper.locking": ("pam_helper.daemon", "pam_helper.accounts", "pam_helper.setup"),
    "pam_helper.accounts": ("pam_helper.locking", "pam_helper.setup"),
    "pam_helper.daemon": ("pam_helper.setup",),
    "hardware_mocks.card": (
        "hardware_mocks.igc",
        "hardware_mocks.readers",
        "hardware_mocks.transcripts",
        "hardware_mocks.vpcd",
    ),
}

ONE_MODULE_EACH = {
    "smartcard": "cps_auth.card.pcsc.library",
    "pkcs11": "cps_auth.card.pkcs11.module",
    "subprocess": ("cps_auth.card.pkcs11.process", "cps_auth.native_host.pin_window"),
    "tkinter": "cps_auth.native_host.pin_window_program",
    "http": ("cps_auth.pki.upkeep.fetch", "cps_auth.login.pro_sante_connect.transport"),
    "socket": ("cps_auth.pki.upkeep.fetch", "cps_auth.card.pcsc.library"),
    "termios": "cps_auth.pin_entry",
    "authlib": (
        "cps_auth.login.pro_sante_connect.client",
        "cps_auth.login.pro_sante_connect.credentials",
    ),
    "joserfc": (
        "cps_auth.login.pro_sante_connect.credentials",
        "cps_auth.login.pro_sante_connect.provider",
        "cps_auth.login.pro_sante_connect.tokens",
    ),
}
"""Foreign libraries that touch the world, and the one module of `cps_auth` that may; two start
a process, a vendor's module and the PIN window."""

ONLY_MADE_IN = {
    "Challenge": "cps_auth.login.challenge",
    "Admission": "cps_auth.login.verify",
    "PscIdentity": "cps_auth.login.pro_sante_connect.identity",
    "VerifiedHolder": "cps_auth.login.verify",
}
"""Values whose existence means something, and the module that may construct them."""


def _modules(*trees: str) -> Iterator[tuple[str, ast.Module]]:
    for tree in trees:
        for path in sorted((ROOT / tree).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def _imports(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(f"relative import of {node.module}")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_under(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + ".")


def _rule(name: str) -> str:
    return max((key for key in ALLOWED if _is_under(name, key)), key=len)


MODULES = dict(_modules(*TREES))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_follow_the_arrows(name: str) -> None:
    """A module imports of the project only what stands below it in the table."""
    rule = _rule(name)
    own = rule if rule.count(".") or rule in TREES[1:] else name
    for imported in _imports(MODULES[name]):
        if imported.split(".")[0] not in TREES:
            continue
        if rule == "cps_auth" and name != "cps_auth":
            raise AssertionError(f"{name} has no row in the table of allowed imports")
        assert any(_is_under(imported, allowed) for allowed in (*ALLOWED[rule], own)), (
            f"{name} may not import {imported}"
        )


def test_no_row_allows_what_nobody_imports() -> None:
    """The table is as tight as the code: an arrow that is gone leaves the table, too."""
    used = {(_rule(name), found) for name in MODULES for found in _imports(MODULES[name])}
    spare = [
        (rule, allowed)
        for rule, row in ALLOWED.items()
        for allowed in row
        if not any(rule == one and _is_under(found, allowed) for one, found in used)
    ]
    assert spare == []


@pytest.mark.parametrize("room", sorted(NEVER))
def test_a_room_knows_nothing_of_those_above_it(room: str) -> None:
    """Within a house the arrows go one way, too."""
    for name in MODULES:
        if _is_under(name, room):
            for imported in _imports(MODULES[name]):
                assert not any(_is_under(imported, above) for above in NEVER[room]), name


def test_judging_keeps_nothing_between_judges() -> None:
    """No memory of the whole process anywhere in pki: what is kept belongs to an object."""
    for name, module in MODULES.items():
        if not _is_under(name, "cps_auth.pki"):
            continue
        for node in ast.walk(module):
            assert not isinstance(node, ast.Global), name
            for decorator in getattr(node, "decorator_list", ()):
                assert not {"cache", "lru_cache"} & set(_words(decorator)), name
        for node in module.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                assert not _is_memory(node.value), (name, node.lineno)


def _words(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name | ast.Attribute):
            yield one.id if isinstance(one, ast.Name) else one.attr


_CONTAINERS = {"dict", "list", "set", "deque", "OrderedDict", "defaultdict", "BoundedCache"}


def _is_memory(value: ast.expr) -> bool:
    """Return whether a value of a module begins empty, to be filled; a table is full at once."""
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List):
        return not value.elts
    return isinstance(value, ast.Call) and bool(_CONTAINERS & set(_words(value.func)))


def test_a_folder_can_be_read_at_a_glance() -> None:
    """No folder of the product or the mocks has more modules than fit."""
    folders = {path.parent for tree in TREES for path in (ROOT / tree).rglob("*.py")}
    for folder in folders:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MODULES_A_FOLDER, folder


def test_the_product_never_imports_a_mock() -> None:
    """A security rule: nothing under cps_auth or pam_helper names the mocks or the demo."""
    for name, module in _modules("cps_auth", "pam_helper"):
        for imported in _imports(module):
            assert imported.split(".")[0] not in ("hardware_mocks", "webdemo"), name


def test_no_setting_or_entry_point_names_a_mock() -> None:
    """The word does not occur in the product's code, its share files or its entry points."""
    product = [*(ROOT / "cps_auth").rglob("*"), *(ROOT / "pam_helper").rglob("*")]
    for path in product:
        if path.is_file() and path.suffix in (".py", ".toml", ".service", ".conf", ""):
            assert "hardware_mocks" not in path.read_text(errors="replace"), path
    scripts = (ROOT / "pyproject.toml").read_text().split("[project.scripts]")[1].split("\n[")[0]
    assert "mock" not in scripts


def test_only_the_commands_import_click() -> None:
    """The library works without a terminal."""
    users = {
        name
        for name, module in _modules("cps_auth")
        if any(_is_under(imported, "click") for imported in _imports(module))
    }
    others = {name for name in users if not _is_under(name, "cps_auth.cli")}
    assert others == {"cps_auth.flask.commands"}
    assert not users & {"cps_auth.cli.diagnostics", "cps_auth.cli.report"}


@pytest.mark.parametrize("library", sorted(ONE_MODULE_EACH))
def test_a_library_that_touches_the_world_has_one_module(library: str) -> None:
    """Hardware, processes and terminals are reached from one module of cps_auth each."""
    users = {
        name
        for name, module in _modules("cps_auth")
        if any(_is_under(imported, library) for imported in _imports(module))
    }
    allowed = ONE_MODULE_EACH[library]
    assert users == ({allowed} if isinstance(allowed, str) else set(allowed))


def test_only_the_flask_folder_imports_flask() -> None:
    """The library works without Flask."""
    for name, module in _modules("cps_auth", "pam_helper"):
        if not _is_under(name, "cps_auth.flask"):
            names = {imported.split(".")[0] for imported in _imports(module)}
            assert not names & {"flask", "flask_login", "werkzeug", "jinja2"}, name


@pytest.mark.parametrize("value", sorted(ONLY_MADE_IN))
def test_a_value_that_means_something_is_made_in_one_module(value: str) -> None:
    """Nobody but the login makes a challenge, an admission or a verified holder."""
    makers = {
        name
        for name, module in _modules("cps_auth", "pam_helper", "webdemo")
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", None)) == value
    }
    assert makers == {ONLY_MADE_IN[value]}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_outgrows_its_idea(name: str) -> None:
    """No module of the product is longer than 300 lines."""
    path = ROOT / Path(*name.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    assert len(source.read_text().splitlines()) <= 300
