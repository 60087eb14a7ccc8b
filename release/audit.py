"""`./dev audit`: known vulnerabilities of every locked package, by pip-audit.

Advisories come from the index that pip uses. Where it has none to give, this says so, and ends with
exit code 3: "nothing known" is not "nothing asked".
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOUND, VULNERABLE, NOT_ASKED = 0, 1, 3


def main() -> int:
    """Audit every lock file but that of the oldest versions; return the exit code."""
    locks = set((ROOT / "requirements").glob("*.txt")) - {ROOT / "requirements" / "lowest.txt"}
    codes = {_audit(lock) for lock in sorted(locks)}
    return VULNERABLE if VULNERABLE in codes else max(codes)


def _audit(lock: Path) -> int:
    program = Path(sys.prefix) / "bin" / "pip-audit"
    options = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json")
    done = subprocess.run(
        [program, *options, "--requirement", lock],
        check=False,
        capture_output=True,
        text=True,
    )
    try:
        rows = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip() or "no answer").splitlines()[-1]
        print(f"{lock.name}: could not be audited: {last}")
        return NOT_ASKED
    code, lines = verdict(rows)
    for line in lines:
        print(f"{lock.name}: {line}")
    return code


def verdict(rows: Iterable[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """Judge the answer of pip-audit.

    Args:
        rows: one a package: `name`, and either `version` and `vulns` or `skip_reason`.

    Returns:
        An exit code, and what to tell, one line each.
    """
    rows = list(rows)
    asked = [row for row in rows if "skip_reason" not in row]
    found = [(row, flaw) for row in asked for flaw in row["vulns"]]
    lines = [
        f"{row['name']} {row['version']}: {flaw['id']}, mended in "
        + (", ".join(flaw["fix_versions"]) or "no version yet")
        for row, flaw in found
    ]
    left_out = len(rows) - len(asked)
    lines.append(f"{len(asked)} packages audited, {len(found)} vulnerabilities")
    if left_out:
        lines.append(f"{left_out} packages NOT audited: the index has no advisories about them")
    return VULNERABLE if found else NOT_ASKED if left_out else SOUND, lines


if __name__ == "__main__":
    sys.exit(main())
