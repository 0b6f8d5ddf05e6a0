"""Together, whose files come in three steps.

Behaviour: a form is answered with 302 and a signed place; the bytes go there without the key; /preprocess
           makes a file of them; only then is there a batch. A step that is lost is done again, and
           nothing is bought twice.
Oracle:    the emulator, which answers as Together's SDK expects it, refuses a key at the signed place and
           knows no file that was not preprocessed; its bill.
"""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import clock  # noqa: E402
from wire import write_pipeline  # noqa: E402

FAULTS = {
    "nothing": [],
    "the form is lost": [{"on": "upload", "nth": 1, "do": "drop_after_commit"}],
    "the bytes are lost": [{"on": "upload", "nth": 2, "do": "drop_before_commit"}],
    "their answer is lost": [{"on": "upload", "nth": 2, "do": "drop_after_commit"}],
    "it is not preprocessed": [{"on": "upload", "nth": 3, "do": "status_before_commit", "status": 500}],
    "that it is, is not told": [{"on": "upload", "nth": 3, "do": "drop_after_commit"}],
    "the create is lost": [{"on": "create", "nth": 1, "do": "drop_after_commit"}],
}


@pytest.mark.parametrize("name", FAULTS)
def test_all_is_bought_once(connected, tmp_path, name):
    offpeak = connected(speed=3000, faults=FAULTS[name])
    offpeak.env.update(OFFPEAK_CLOCK=clock(3000), TOGETHER_API_KEY="key-of-the-test",
                       TOGETHER_BASE_URL=offpeak.emulator.url + "/openai/v1")
    folder = write_pipeline(tmp_path / "t", 4, 4, request=", provider: together",
                            model="meta-llama/Llama-3.3-70B-Instruct-Turbo")
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    assert [r["id"] for r in offpeak.csv("answers.csv")] == [f"r{i:03}" for i in range(4)]
    assert set(offpeak.emulator.accepted().values()) == {1} and len(offpeak.emulator.accepted()) == 4
    offpeak.run("doctor", "--audit", expect=0)
