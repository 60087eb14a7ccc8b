"""Deletes each check of `cps_auth.pki` in turn, and says which deletions no test notices.

    python -m tests.pki.mutation [--jobs N] [--write] [WORD ...]

A mutant is the package without one check: an `if` that raises, returns or goes on is never true,
an operand of `and` is true, one of `or` is false, a call of a `check…` function is gone. The tests
of `tests/pki` run once to find out which lines each of them reaches; then every mutant meets those
that reach it, the quickest first, in a process of its own. WORD keeps the mutants of the files
that have it in their path. `--write` puts the survivors into `docs/appendix/mutations.md`; one
that `tests/pki/mutation_survivors.toml` doesn't explain makes the command fail.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import importlib
import os
import signal
import sys
import tempfile
import threading
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cps_auth/pki"
EXPLAINED = Path(__file__).with_name("mutation_survivors.toml")
REPORT = ROOT / "docs/appendix/mutations.md"

_MUTANT_S = 600.0
"""How long one mutant may take; one that hangs is noticed."""

_LONG = ("test_frozen_verdicts.py", "test_judged_before.py", "test_hostile.py", "test_pkits.py")
"""Tests that reach nearly everything and take minutes: a mutant meets them last."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Mutant:
    """The package without one check.

    Attributes:
        file: from PACKAGE.
        function: qualified name of the outermost function.
        check: what is deleted, as source.
        lines: on which it stands.
        code: of the function without it.
    """

    file: str
    function: str
    check: str
    lines: frozenset[int]
    code: CodeType

    @property
    def name(self) -> str:
        """Return how it is named in the list of survivors."""
        return f"{self.file} {self.function}: {self.check}"


def mutants(words: Iterable[str] = ()) -> Iterator[Mutant]:
    """Yield every mutant, or those of the files that have one of the words in their path."""
    wanted = tuple(words)
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        if not wanted or any(word in file for word in wanted):
            yield from _mutants_of(path, file)


def _mutants_of(path: Path, file: str) -> Iterator[Mutant]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name, function in _functions(tree):
        for place, node in enumerate(ast.walk(function)):
            for change, check in _deletions(node):
                code = _compiled(path, tree, name, place, change)
                lines = frozenset(range(check.lineno, (check.end_lineno or check.lineno) + 1))
                yield Mutant(file, name, ast.unparse(check), lines, code)


def _functions(tree: ast.Module) -> Iterator[tuple[str, _Function]]:
    for node in tree.body:
        if isinstance(node, _Function):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, _Function):
                    yield f"{node.name}.{inner.name}", inner


def _deletions(node: ast.AST) -> Iterator[tuple[int, ast.expr]]:
    """Yield the checks in one node, each with the number that `_delete` knows it by."""
    leaves = ast.Raise | ast.Return | ast.Continue | ast.Break
    leaves_here = isinstance(node, ast.If) and isinstance(node.body[-1], leaves)
    if isinstance(node, ast.If | ast.IfExp) and (leaves_here or isinstance(node, ast.IfExp)):
        yield -1, node.test
    elif isinstance(node, ast.BoolOp):
        yield from enumerate(node.values)
    elif isinstance(node, ast.comprehension):
        yield from enumerate(node.ifs)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = ast.unparse(node.value.func).rpartition(".")[2]
        if called.lstrip("_").startswith("check"):
            yield -1, node.value


def _delete(node: ast.AST, change: int) -> None:
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.Constant(value=False)
    elif isinstance(node, ast.BoolOp):
        node.values[change] = ast.Constant(value=isinstance(node.op, ast.And))
    elif isinstance(node, ast.comprehension):
        del node.ifs[change]
    elif isinstance(node, ast.Expr):
        node.value = ast.Constant(value=None)


def _compiled(path: Path, tree: ast.Module, name: str, place: int, change: int) -> CodeType:
    changed = copy.deepcopy(tree)
    twin = next(found for known, found in _functions(changed) if known == name)
    _delete(list(ast.walk(twin))[place], change)
    module = compile(ast.fix_missing_locations(changed), str(path), "exec")
    return next(code for code in _codes(module) if code.co_qualname == name)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _insert(mutant: Mutant) -> None:
    """Put a mutant's code into the living function."""
    dotted = mutant.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    found: Any = importlib.import_module(f"cps_auth.pki.{dotted}")
    for part in mutant.function.split("."):
        found = found.__dict__[part]
    for wrapping in ("fget", "func", "__func__", "__wrapped__"):
        found = getattr(found, wrapping, found)
    found.__code__ = mutant.code


class _Reach:
    """The lines of the package that a test reaches, and how long it takes."""

    def __init__(self) -> None:
        self.lines: set[tuple[str, int]] = set()
        self.took_s = 0.0

    def run(self, item: pytest.Item, following: pytest.Item) -> None:
        """Run a test and note them."""
        started_s = time.perf_counter()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        finally:
            sys.settrace(None)
            threading.settrace(None)
        self.took_s = time.perf_counter() - started_s

    def _trace(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self._line if _file_of(frame.f_code) else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            self.lines.add((_file_of(frame.f_code) or "", frame.f_lineno))
        return self._line


@functools.cache
def _file_of(code: CodeType) -> str | None:
    prefix = f"{PACKAGE}/"
    return code.co_filename.removeprefix(prefix) if code.co_filename.startswith(prefix) else None


class _Campaign:
    """A plugin of pytest that runs the tests once, then beside each mutant."""

    def __init__(self, found: list[Mutant], jobs: int) -> None:
        self.mutants, self.jobs = found, jobs
        self.survivors: list[Mutant] = []
        self._has_failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        self._has_failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the campaign in place of the tests."""
        reached: dict[pytest.Item, _Reach] = {}
        for place, item in enumerate(session.items):
            reached[item] = _Reach()
            if item.path.name in _LONG:
                continue
            reached[item].run(item, session.items[(place + 1) % len(session.items)])
            if self._has_failed:
                raise session.Failed(f"red without a mutant: {item.nodeid}")
        quickest = sorted(reached, key=lambda item: (item.path.name in _LONG, reached[item].took_s))
        running: dict[int, tuple[Mutant, float]] = {}
        for mutant in self.mutants:
            places = {(mutant.file, line) for line in mutant.lines}
            tests = [
                item for item in quickest if item.path.name in _LONG or places & reached[item].lines
            ]
            while len(running) >= self.jobs:
                self._reap(running)
            running[self._start(mutant, tests)] = mutant, time.monotonic() + _MUTANT_S
        while running:
            self._reap(running)
        return True

    def _start(self, mutant: Mutant, tests: list[pytest.Item]) -> int:
        child = os.fork()
        if child:
            return child
        try:
            _insert(mutant)
            if tests:
                tests[0].config.pluginmanager.unregister(name="terminalreporter")
            for item, following in zip(tests, [*tests[1:], *tests[-1:]], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._has_failed:
                    os._exit(1)
        except Exception:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
        os._exit(0)

    def _reap(self, running: dict[int, tuple[Mutant, float]]) -> None:
        for child, (mutant, until_s) in list(running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if not done and time.monotonic() > until_s:
                os.kill(child, signal.SIGKILL)
                done, status = os.waitpid(child, 0)
            if done:
                del running[child]
                if status == 0:
                    self.survivors.append(mutant)
                    print(f"survives: {mutant.name}", file=sys.__stderr__, flush=True)
                return
        time.sleep(0.01)


def _report(found: list[Mutant], survivors: list[Mutant], why: dict[str, str]) -> str:
    names = Counter(mutant.name for mutant in survivors)
    lines = [
        "# Appendix: checks that were deleted",
        "",
        "Written by `python -m tests.pki.mutation --write`, which deletes each check of"
        " `cps_auth.pki` in turn and",
        f"runs the tests that reach it: {len(found)} deletions, {len(survivors)} of which no test"
        " notices. Those are:",
        "",
        "| deleted | why nothing is let in |",
        "|---|---|",
    ]
    for name in sorted(names):
        shown = name.replace("|", "\\|")
        lines.append(f"| `{shown}` | {why.get(name, 'not explained')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the campaign; return 0 if every survivor is explained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    parser.add_argument("--quick", action="store_true", help="without the tests that take minutes")
    parser.add_argument("--near", help="only one folder: its mutants beside its own tests")
    parser.add_argument("words", nargs="*")
    chosen = parser.parse_args()
    found = list(mutants(chosen.words))
    if chosen.list:
        sys.stdout.writelines(f"{mutant.name}\n" for mutant in found)
        return 0
    campaign = _Campaign(found, chosen.jobs)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = scratch  # failures of mutants are no examples
        options = ["-q", "--no-header", "--capture=sys", "-p", "no:randomly", "-o", "timeout=0"]
        tests = ROOT / "tests/pki"
        if chosen.quick:
            options += [f"--ignore={tests}/{file}" for file in _LONG]
        if chosen.near:
            tests /= chosen.near
            found[:] = [mutant for mutant in found if mutant.file.startswith(f"{chosen.near}/")]
        code = pytest.main([*options, str(tests)], plugins=[campaign])
    if code:
        return int(code)
    why = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")) if EXPLAINED.exists() else {}
    open_ = sorted({mutant.name for mutant in campaign.survivors} - set(why))
    sys.stdout.write(
        f"{len(found)} deletions, {len(campaign.survivors)} survive, {len(open_)} unexplained\n"
    )
    sys.stdout.writelines(f"  {name}\n" for name in open_)
    if chosen.write:
        REPORT.write_text(_report(found, campaign.survivors, why), encoding="utf-8")
    return 1 if open_ else 0


if __name__ == "__main__":
    sys.exit(main())
