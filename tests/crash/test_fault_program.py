"""A sample of the fault program (docs/reliability.md): the real objects between a model disk, a virtual
clock and the emulator's own code.

Behaviour: whatever fault strikes at whatever system call or stage of an exchange, the next starts bring
           every record to its answer; nothing is bought twice, lost or thrown away.
Stimulus:  the schedules that failed once; each single fault at a thinned set of points; random ones. A
           failure prints one line that replays it.
Oracle:    tests/crash/program/checker.py, which reads ledger, spool, outputs and the emulator's bill.
"""
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, ROOT  # noqa: E402

PROGRAM = pathlib.Path(OFFPEAK).parent / "tests" / "crash" / "program" / "fault-program"
needs_it = pytest.mark.skipif(not PROGRAM.exists(), reason="not built under a sanitizer: both would stand "
                                                           "before the same system calls")


def run(*options):
    done = subprocess.run([PROGRAM, "--quick", *options], text=True, capture_output=True, timeout=600,
                          env=dict(os.environ, TMPDIR="/tmp"))
    print(done.stdout + done.stderr)
    assert done.returncode == 0
    assert "\n0 failures" in done.stdout


@needs_it
def test_what_failed_once():
    run("--schedules", "0", "--file", str(ROOT / "tests" / "crash" / "program" / "regressions.txt"))


@needs_it
def test_single_faults():
    run("--schedules", "0", "--single", "--thin", "97", "--only", "anthropic/one")


@needs_it
def test_random_faults():
    run("--schedules", "300", "--seed", "1")
