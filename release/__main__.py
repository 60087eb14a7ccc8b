"""`./dev release VERSION [--dry-run]`: stamp, commit, tag, build twice, compare, sum up.

With --dry-run nothing of the checkout or its history changes: what is committed is exported,
stamped there and built, so that a release can be looked at before it exists.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from release.archives import SUMS, build, differences, sums
from release.stamp import CHANGELOG, FILES, NotReleasable, places_to_fill, section, stamped

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Make the release; return the exit code."""
    parser = argparse.ArgumentParser("./dev release", description=__doc__)
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="build, and change nothing")
    parser.add_argument("--without-deb", action="store_true", help="leave the Debian package out")
    parser.add_argument("--once", action="store_true", help="do not build again to compare")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist")
    options = parser.parse_args()
    try:
        return _release(options)
    except NotReleasable as error:
        print(f"no release: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"no release: {error.cmd[0]} failed", file=sys.stderr)
    return 1


def _release(options: argparse.Namespace) -> int:
    epoch_s = int(_git("log", "-1", "--format=%ct"))
    day = datetime.fromtimestamp(epoch_s, UTC).date().isoformat()
    tree = {name: _git("show", f"HEAD:{name}") for name in FILES}
    changed = stamped(tree, options.version, day)
    missing = places_to_fill(tree)
    for place in missing:
        print(f"to be filled in before a release: {place}")
    if not options.dry_run:
        if missing:
            raise NotReleasable("places are not filled in")
        _tag(changed, options.version)
    commit = _git("rev-parse", "HEAD").strip()  # whatever else happens in the checkout meanwhile
    out: Path = options.out / options.version
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        first = _build(Path(folder) / "first", commit, changed, epoch_s, options)
        if not options.once:
            second = _build(Path(folder) / "second", commit, changed, epoch_s, options)
            if unlike := differences(first, second):
                raise NotReleasable(f"two builds differ: {', '.join(unlike)}")
            print("Built twice: byte for byte the same.")
        out.mkdir(parents=True, exist_ok=True)
        for archive in first.iterdir():
            (out / archive.name).write_bytes(archive.read_bytes())
    (out / SUMS).write_text(sums(out))
    print((out / SUMS).read_text(), end="")
    verb = (
        "would be tagged" if options.dry_run else "is tagged; push it with git push --follow-tags"
    )
    print(f"v{options.version} {verb}. Archives: {out}")
    return 0


def _build(
    folder: Path,
    commit: str,
    changed: dict[str, str],
    epoch_s: int,
    options: argparse.Namespace,
) -> Path:
    """Export a commit, stamp it, build it; return where the archives are."""
    source, out = folder / "cps-auth", folder / "out"
    out.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, check=True, capture_output=True
    )
    source.mkdir()
    subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
    for name, text in changed.items():
        (source / name).write_text(text)
    build(source, out, epoch_s=epoch_s, with_deb=not options.without_deb)
    return out


def _tag(changed: dict[str, str], version: str) -> None:
    if _git("status", "--porcelain", "--untracked-files=no"):
        raise NotReleasable("the checkout has changes that are not committed")
    for name, text in changed.items():
        (ROOT / name).write_text(text)
    _git("commit", "-qam", f"Release {version}")
    notes = section(changed[CHANGELOG], version)
    _git("tag", "-a", f"v{version}", "--cleanup=verbatim", "-m", f"cps-auth {version}\n\n{notes}")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
