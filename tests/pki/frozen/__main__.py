"""Writes the frozen verdicts, or the inputs anew. Only on purpose: it forgets what was frozen.

python -m tests.pki.frozen write | inputs
"""

from __future__ import annotations

import sys

from tests.pki.frozen.groups import GROUPS
from tests.pki.frozen.inputs import REAL
from tests.pki.frozen.making.inputs import make_inputs
from tests.pki.frozen.verdicts import write


def main(arguments: list[str]) -> int:
    """Run one command, and return the exit code."""
    if arguments == ["inputs"]:
        make_inputs()
        return 0
    if arguments == ["write"] and REAL.is_dir():
        write(GROUPS)
        return 0
    print(__doc__, f"It needs {REAL}." if arguments == ["write"] else "", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
