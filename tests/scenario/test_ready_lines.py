"""A file of requests in a provider's own form, run as it is, for each provider.

Behaviour: `run requests.jsonl --output results.jsonl`: params reach the provider unchanged; ids may be
           anything and may repeat, and come back as they were; a mark and Windows line ends do not matter;
           each line goes to the model that it names, or, where the form lets it leave that out, to the one
           that --model names.
Oracle:    the emulator's own copy of what it got, and its bill; the file. Lines are written by hand in each
           provider's form (tests/support/forms.py).
"""
import collections
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from forms import FORMS  # noqa: E402
from harness import MODELS, clock  # noqa: E402

OTHER_MODEL = {"anthropic": "claude-opus-4-5", "openai": "gpt-6-terra", "gemini": "gemini-3.5-flash",
               "mistral": "codestral-2508"}
LEAVES_MODEL_OUT = ["gemini", "mistral"]


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.fixture
def program(connected):
    def start(**options):
        offpeak = connected(speed=3000, **options)
        offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
        return offpeak
    return start


def write(offpeak, lines, end="\n", mark=b""):
    path = offpeak.cwd / "requests.jsonl"
    path.write_bytes(mark + "".join(json.dumps(line, ensure_ascii=False) + end for line in lines).encode())
    return path


def run(offpeak, *args, expect=0):
    return offpeak.run("run", "requests.jsonl", "--output", "results.jsonl", *args, expect=expect)


def results(offpeak):
    return [json.loads(line) for line in (offpeak.cwd / "results.jsonl").read_text().splitlines()]


def model_args(form):
    return ["--model", MODELS[form.name]] if form.name in LEAVES_MODEL_OUT else []


def taken(offpeak, form):
    """The request lines as the provider has them."""
    folder = pathlib.Path(offpeak.emulator.dir) / "emulator" / "batches"
    return [json.loads(line) for file in folder.glob("*.requests")
            for line in file.read_text().splitlines()]


def test_any_id_a_mark_and_windows_line_ends(program, form):
    offpeak = program()
    ids = ["a b", "x" * 100, "größe", "a", "a", "a", "a/b:c?", "a (2)", "1"]
    asked = [form.params(f"zwölf {i}") for i in range(len(ids))]
    write(offpeak, [form.line(i, params) for i, params in zip(ids, asked)], "\r\n", b"\xef\xbb\xbf")
    run(offpeak, *model_args(form))
    got = taken(offpeak, form)
    key = json.dumps
    assert sorted(key(line[form.params_member]) for line in got) == sorted(map(key, asked))
    sent = [line[form.id_member] for line in got]
    assert len(set(sent)) == len(ids) and all(i.replace("-", "").isalnum() and i.isascii() for i in sent)
    back = results(offpeak)
    assert sorted(line[form.id_member] for line in back) == sorted(ids)
    assert all(map(form.is_good, back))
    assert set(offpeak.emulator.accepted().values()) == {1}


@pytest.mark.parametrize("mode", ["batch", "realtime"])
def test_each_line_goes_to_the_model_it_names(program, form, mode):
    offpeak = program()
    first, other = MODELS[form.name], OTHER_MODEL[form.name]
    write(offpeak, [form.line(f"r{i}", form.params(f"word{i}", first if i % 3 else other))
                    for i in range(6)])
    run(offpeak, "--mode", mode)
    back = results(offpeak)
    assert len(back) == 6 and all(map(form.is_good, back))
    models = collections.Counter(next(m for m in (first, other) if b["model"].startswith(m))
                                 for b in offpeak.emulator.bill() if b["state"] == "accepted")
    assert models == {first: 4, other: 2}
    # each at its own price, which the list has also under Gemini's full name of a model
    assert offpeak.json("status")["jobs"][0]["spent_microusd"] > 0
    offpeak.run("doctor", "--audit", expect=0)


@pytest.mark.parametrize("form", LEAVES_MODEL_OUT, indirect=True)
def test_a_model_that_no_line_names(program, form):
    offpeak = program()
    lines = [form.line("a", form.params("one")), form.line("b", form.params("two"))]
    write(offpeak, lines)
    told = run(offpeak, expect=2).stderr
    assert "requests.jsonl:1" in told and "names no model" in told and "--model" in told
    # one that names another was not meant by it
    write(offpeak, [*lines, form.line("c", form.params("three", OTHER_MODEL[form.name]))])
    told = run(offpeak, *model_args(form), expect=1).stderr
    assert "requests.jsonl:3" in told and OTHER_MODEL[form.name] in told
    # one that names its own needs none
    write(offpeak, [form.line("c", form.params("three", MODELS[form.name]))])
    told = run(offpeak, "--model", OTHER_MODEL[form.name], expect=2).stderr
    assert "requests.jsonl:1" in told and "leave it out" in told
    assert not offpeak.emulator.bill()
    write(offpeak, lines)
    run(offpeak, *model_args(form))
    assert {b["model"] for b in offpeak.emulator.bill()} == {MODELS[form.name]}
    assert len(results(offpeak)) == 2


def test_an_endpoint_is_kept_in_realtime(program):
    """OpenAI's lines say it in their url. Oracle: a chat is answered as a chat."""
    offpeak = program()
    write(offpeak, [{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {
        "model": MODELS["openai"], "messages": [{"role": "user", "content": "word"}]}}])
    run(offpeak, "--mode", "realtime")
    line, = results(offpeak)
    assert line["response"]["body"]["object"] == "chat.completion"
