"""Kill -9 at every named fault point, then recover: with the providers that have uploads and tags.

As test_kill.py, whose pipeline and oracle these are; once a point, and again inside `recover`.
"""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
from harness import OTHERS, Emulator, Offpeak, clock  # noqa: E402
from test_kill import SPEED, check, fault_points, write_pipeline  # noqa: E402


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize("point", fault_points())
def test_killed_at(tmp_path, point, provider):
    write_pipeline(tmp_path / "kill", OTHERS[provider])
    with Emulator(tmp_path, speed=SPEED) as emulator:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED))
        first = offpeak.run("run", tmp_path / "kill", "--path", tmp_path / "kill" / "items.csv",
                            OFFPEAK_FAULT=f"{point}:1")
        if first.returncode == 0:
            check(offpeak, emulator)
            pytest.skip(f"{point} is not passed here")
        assert first.returncode == -9, first.stderr
        offpeak.run("recover", OFFPEAK_FAULT=f"{point}:1")
        offpeak.run("recover", expect=0)
        check(offpeak, emulator)
