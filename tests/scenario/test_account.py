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

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from forms import FORMS  # noqa: E402
from harness import MODELS, clock  # noqa: E402
from wire import write_pipeline  # noqa: E402


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def foreign(offpeak, form, count, name="foreign"):
    """Somebody else's batch in the same account: its id."""
    return form.create(offpeak.emulator.url, [form.line(f"{name}-{i}", form.params(f"{name} {i}"))
                                              for i in range(count)])


def test_the_account_is_listed(connected, tmp_path, form):
    offpeak = connected(speed=3000, faults=[{"on": "create", "nth": 3, "do": "never_end"}])
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    empty = offpeak.json("recover", "--provider", form.name, expect=0)
    assert empty == {"version": 1, "provider": form.name, "unknown": []}
    folder = write_pipeline(tmp_path / "known", 3, 3, model=MODELS[form.name])
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    others = foreign(offpeak, form, 2)
    open_one = foreign(offpeak, form, 5, "open")
    time.sleep(0.2)  # the first of the two ends within 90 s of a clock that runs 3000 times as fast
    bill = offpeak.emulator.bill()
    listed = offpeak.json("recover", "--provider", form.name, expect=0)["unknown"]
    # Where it carries no tag, only its results tell whose it is.
    whose = "elsewhere" if form.name == "gemini" else "unknown"
    assert [(b["id"], b["state"], b["requests"], b["whose"], b["batch"]) for b in listed] == \
        [(open_one, form.going, 5, whose, None), (others, form.ended, 2, "elsewhere", None)]
    assert all(b["created"].endswith("Z") for b in listed)
    text = offpeak.run("recover", "--provider", form.name, expect=0).stdout
    assert others in text and "made elsewhere" in text
    assert ("not known before it has ended" in text) == (whose == "unknown")
    assert len(offpeak.emulator.bill()) == len(bill)
    assert offpeak.ledger("SELECT count(*) FROM batch") == [(1,)]


def test_a_batch_that_the_ledger_forgot(connected, tmp_path, form):
    """An old copy of the state folder is put back: what was sent since is ours and forgotten."""
    offpeak = connected(speed=3000)
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    one, two = (write_pipeline(tmp_path / name, 2, 2, model=MODELS[form.name])
                for name in ("one", "two"))
    offpeak.run("run", one, "--path", one / "items.csv", expect=0)
    shutil.copy(offpeak.state / "ledger.db", tmp_path / "old.db")
    offpeak.run("run", two, "--path", two / "items.csv", expect=0)
    shutil.copy(tmp_path / "old.db", offpeak.state / "ledger.db")
    listed = offpeak.json("recover", "--provider", form.name, expect=0)["unknown"]
    assert [(b["state"], b["requests"], b["whose"], b["batch"]) for b in listed] == \
        [(form.ended, 2, "ours", None)]
    assert "ours, forgotten" in offpeak.run("recover", "--provider", form.name).stdout


@pytest.mark.parametrize("form", [f for f in FORMS if f != "anthropic"], indirect=True)
def test_a_tag_tells_before_the_end(connected, tmp_path, form):
    offpeak = connected(speed=3000, faults=[{"on": "create", "nth": 2, "do": "never_end"}])
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    one, two = (write_pipeline(tmp_path / name, 2, 2, model=MODELS[form.name])
                for name in ("one", "two"))
    offpeak.run("run", one, "--path", one / "items.csv", expect=0)
    shutil.copy(offpeak.state / "ledger.db", tmp_path / "old.db")
    offpeak.run("create", two, "--path", two / "items.csv", expect=3)
    shutil.copy(tmp_path / "old.db", offpeak.state / "ledger.db")
    found, = offpeak.json("recover", "--provider", form.name, expect=0)["unknown"]
    assert (found["requests"], found["whose"]) == (2, "ours") and found["state"] != form.ended


def test_mistakes(connected):
    offpeak = connected()
    assert "no provider 'nobody'" in offpeak.run("recover", "--provider", "nobody", expect=2).stderr
    done = offpeak.run("recover", "--provider", "anthropic", expect=1, ANTHROPIC_API_KEY="")
    assert "ANTHROPIC_API_KEY" in done.stderr
