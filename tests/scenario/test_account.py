"""What the account holds that the ledger does not know.

Behaviour: `recover --provider` lists the batches of the account that the ledger does not know, with
           their state, time, size and whose they are; it changes and sends nothing, and what the
           ledger knows is not among them.
Oracle:    batches made past the program, by hand and by another ledger of the same account.
"""
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Offpeak, clock  # noqa: E402
from wire import foreign, write_pipeline  # noqa: E402


def test_the_account_is_listed(connected, tmp_path):
    offpeak = connected(speed=3000, faults=[{"on": "create", "nth": 3, "do": "never_end"}])
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    empty = offpeak.json("recover", "--provider", "anthropic", expect=0)
    assert empty == {"version": 1, "provider": "anthropic", "unknown": []}
    folder = write_pipeline(tmp_path / "known", 3, 3)
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    others = foreign(offpeak.emulator.url, 2)
    open_one = foreign(offpeak.emulator.url, 5, "open")
    time.sleep(0.2)  # the first of the two ends within 90 s of a clock that runs 3000 times as fast
    bill = offpeak.emulator.bill()
    listed = offpeak.json("recover", "--provider", "anthropic", expect=0)["unknown"]
    assert [(b["id"], b["state"], b["requests"], b["whose"], b["batch"]) for b in listed] == \
        [(open_one, "in_progress", 5, "unknown", None), (others, "ended", 2, "elsewhere", None)]
    assert all(b["created"].endswith("Z") for b in listed)
    text = offpeak.run("recover", "--provider", "anthropic", expect=0).stdout
    assert others in text and "made elsewhere" in text and "not known before it has ended" in text
    assert len(offpeak.emulator.bill()) == len(bill)
    assert offpeak.ledger("SELECT count(*) FROM batch") == [(1,)]


def test_a_batch_that_the_ledger_forgot(connected, tmp_path):
    """An old copy of the state folder is put back: what was sent since is ours and forgotten."""
    offpeak = connected(speed=3000)
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    one, two = (write_pipeline(tmp_path / name, 2, 2) for name in ("one", "two"))
    offpeak.run("run", one, "--path", one / "items.csv", expect=0)
    shutil.copy(offpeak.state / "ledger.db", tmp_path / "old.db")
    offpeak.run("run", two, "--path", two / "items.csv", expect=0)
    shutil.copy(tmp_path / "old.db", offpeak.state / "ledger.db")
    listed = offpeak.json("recover", "--provider", "anthropic", expect=0)["unknown"]
    assert [(b["state"], b["requests"], b["whose"], b["batch"]) for b in listed] == \
        [("ended", 2, "ours", None)]
    assert "ours, forgotten" in offpeak.run("recover", "--provider", "anthropic").stdout


def test_mistakes(connected):
    offpeak = connected()
    assert "no provider 'nobody'" in offpeak.run("recover", "--provider", "nobody", expect=2).stderr
    done = offpeak.run("recover", "--provider", "anthropic", expect=1, ANTHROPIC_API_KEY="")
    assert "ANTHROPIC_API_KEY" in done.stderr
