"""A disk that is full at the worst moment: a batch has been bought, and there is no room to write
down its name.

Behaviour: docs/design/ledger.md, The worst moment: the ballast makes room; where that is not enough,
           the black box keeps the provider's id and the next start takes it from there.
Stimulus:  strace makes writes to the ledger's journal fail, from exactly the transaction of
           `accepted` on: the writes before it are counted in a run that dies there.
Oracle:    the emulator's bill; the journal of the batch; a list of the account that cannot be read,
           so that nothing but the black box can have told.
"""
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, UNDER_STRACE, Emulator, Offpeak, clock  # noqa: E402
from wire import Proxy, write_pipeline  # noqa: E402

STRACE = shutil.which("strace")
pytestmark = pytest.mark.skipif(not STRACE, reason="needs strace")
RECORDS = 3
SPEED = 3000


class Stage:
    def __init__(self, tmp_path, name):
        self.pipeline = write_pipeline(tmp_path / name / "full", RECORDS, RECORDS)
        self.emulator = Emulator(tmp_path / name, speed=SPEED)
        self.offpeak = Offpeak(tmp_path / name, None, OFFPEAK_CLOCK=clock(SPEED), OFFPEAK_BALLAST=1)
        self.log = tmp_path / name / "strace.log"

    def __enter__(self):
        self.emulator.__enter__()
        self.offpeak.env["ANTHROPIC_BASE_URL"] = self.emulator.url
        return self

    def __exit__(self, *_):
        self.emulator.__exit__()

    def traced(self, *options, **env):
        """A run under strace, which looks at writes to the ledger's journal only."""
        return subprocess.run(
            [STRACE, "-f", "-qq", "-o", self.log, "-P", self.offpeak.state / "ledger.db-journal",
             "-e", "signal=none", *options, OFFPEAK, "run", self.pipeline, "--path",
             self.pipeline / "items.csv"],
            cwd=self.offpeak.cwd, env=dict(self.offpeak.env, **UNDER_STRACE, **env), text=True, capture_output=True,
            timeout=120)

    def check(self):
        assert sorted(r["id"] for r in self.offpeak.csv("answers.csv")) == \
            [f"r{i:03}" for i in range(RECORDS)]
        assert len(self.emulator.accepted()) == RECORDS
        assert set(self.emulator.accepted().values()) == {1}
        audit = self.offpeak.run("doctor", "--audit", "--json")
        assert audit.returncode == 0, audit.stdout

    def evidence(self):
        return [e for e, in self.offpeak.ledger("SELECT evidence FROM journal WHERE batch_id = 1")]


@pytest.fixture
def writes_before(tmp_path):
    """How many writes to the journal precede the transaction of `accepted`."""
    with Stage(tmp_path, "count") as stage:
        done = stage.traced("-e", "trace=pwrite64", OFFPEAK_FAULT="send.accepted.before:1")
        assert done.returncode == -9 or done.returncode == 137, done.stderr
        return stage.log.read_text().count("pwrite64(")


def test_the_ballast_makes_room(tmp_path, writes_before):
    with Stage(tmp_path, "ballast") as stage:
        done = stage.traced("-e", "trace=pwrite64", "-e",
                            f"inject=pwrite64:error=ENOSPC:when={writes_before + 1}")
        assert done.returncode == 0, done.stderr
        assert "the ballast was thrown off" in done.stderr
        assert not (stage.offpeak.state / "ballast").exists()
        assert not any("black box" in e for e in stage.evidence())
        stage.check()


def test_the_black_box_tells(tmp_path, writes_before):
    with Stage(tmp_path, "box") as stage:
        done = stage.traced("-e", "trace=pwrite64", "-e",
                            f"inject=pwrite64:error=ENOSPC:when={writes_before + 1}+")
        assert done.returncode == 1, done.stderr
        bought = stage.emulator.bill()[0]["batch"]
        assert bought in done.stderr and "black box" in done.stderr

        def change(method, path, status, headers, body):
            if method == "GET" and path.split("?")[0].endswith("/batches"):
                return 500, headers, b"{}"
            return None

        with Proxy(stage.emulator.url, change) as proxy:
            stage.offpeak.run("recover", expect=0, ANTHROPIC_BASE_URL=proxy.url)
        assert "from the black box" in stage.evidence()
        stage.check()
        stage.offpeak.run("recover", expect=0)


def test_without_the_black_box_the_account_tells(tmp_path, writes_before):
    with Stage(tmp_path, "neither") as stage:
        done = stage.traced("-e", "trace=pwrite64", "-e",
                            f"inject=pwrite64:error=ENOSPC:when={writes_before + 1}+")
        assert done.returncode == 1, done.stderr
        (stage.offpeak.state / "blackbox").unlink()
        stage.offpeak.run("recover", expect=0)
        assert "adopted: its results carry our ids" in stage.evidence()
        stage.check()
