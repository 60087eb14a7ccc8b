"""The recorded campaign: python -m tests.fuzz.campaign KIND RUNS SEED FOLDER

Needs atheris, which is not among the test dependencies: it runs for minutes, not in the suite.
KIND is certificate, crl or ocsp; FOLDER holds the fake IGC-Santé, made if it is not there.
Writes counts, the slowest input and the seconds to a file. A crash, a foreign exception, an
altered input that is accepted or one that takes 10 ms of processor time ends it, with the input
in a file.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cps_auth.pki"]):
    from hardware_mocks.igc.fake_igc import FakeIgcSante
    from tests.fuzz.targets import SLOWEST_S, TARGETS


REPORT_EVERY = 10_000


def main() -> None:
    """Run one campaign."""
    kind, runs, seed, name = sys.argv[1:5]
    warnings.simplefilter("ignore")  # of the library, about odd certificates
    folder = Path(name)
    if not (folder / "igc" / "trust.toml").exists():
        FakeIgcSante.create().write(folder / "igc")
    target = TARGETS[kind](FakeIgcSante.load(folder / "igc"))
    corpus = folder / f"corpus-{kind}"
    corpus.mkdir(exist_ok=True)
    for i, content in enumerate(target.seeds):
        (corpus / f"genuine-{i}").write_bytes(content)
    start = time.monotonic()
    slow: list[float] = []

    def report() -> None:
        result = {
            "kind": kind,
            "seed": seed,
            "inputs": sum(target.outcomes.values()),
            "seconds": round(time.monotonic() - start),
            "slowest_ms": round(target.slowest_s * 1e3, 2),
            "looked_at_again": len(slow),
            "outcomes": target.outcomes,
        }
        (folder / f"result-{kind}-{seed}.json").write_text(json.dumps(result, indent=1))

    def feed(data: bytes) -> None:
        if sum(target.outcomes.values()) % REPORT_EVERY == 0:
            report()  # the fuzzer ends without running what was registered for the end
        before = target.slowest_s
        target.feed(data)
        if target.slowest_s > max(before, SLOWEST_S):
            target.slowest_s = before
            again = time.thread_time()
            target.feed(data)  # a garbage collection is not the input's fault
            slow.append(time.thread_time() - again)
            if slow[-1] > SLOWEST_S:
                raise AssertionError(f"slow: {slow[-1]}")

    os.chdir(folder)
    options = [f"-runs={runs}", f"-seed={seed}", "-max_len=65536", "-len_control=0", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
