"""Bad requests in ready files, bad answers, refusals of a whole batch: each said, nothing lost.

Behaviour: unknown models, another provider's models, mixed models, ids that are used twice or that no
           provider takes, a byte order mark and CR LF, answers that are no JSON, fenced, or cut, a 413
           in HTML: what can run runs, what cannot is named with its reason, and the user gets every
           line back under the id it came with.
Oracle:    the input's ids and texts; the emulator's bill; words a person needs in the message.
"""
import collections
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import clock  # noqa: E402
from wire import write_pipeline  # noqa: E402


@pytest.fixture
def program(connected):
    def start(**options):
        offpeak = connected(speed=3000, **options)
        offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
        return offpeak
    return start


def line(custom_id, word, model="claude-haiku-4-5"):
    return {"custom_id": custom_id, "params": {"model": model, "max_tokens": 300, "messages": [
        {"role": "user", "content": f"Tell of {word}"}]}}


def write(path, lines, end="\n", mark=b""):
    path.write_bytes(mark + "".join(json.dumps(one, ensure_ascii=False) + end
                                    for one in lines).encode())


def results(offpeak, name="out.jsonl"):
    return [json.loads(text) for text in (offpeak.cwd / name).read_text().splitlines()]


def run(offpeak, expect=0):
    return offpeak.run("run", "r.jsonl", "--output", "out.jsonl", expect=expect)


def bought(offpeak):
    return sum(1 for b in offpeak.emulator.bill() if b["state"] == "succeeded")


# --- ready files ------------------------------------------------------------------------------


def test_ids_that_no_provider_takes(program):
    """Blanks, other scripts, control characters, 300 characters, a number in brackets."""
    offpeak = program()
    ids = ["with blank", "Grüße", "日本", "a/b\\c", 'quo"te', "tab\there", "x" * 300, "dup (2)", "🦊",
           "plain"]
    write(offpeak.cwd / "r.jsonl", [line(i, n) for n, i in enumerate(ids)])
    run(offpeak)
    assert [r["custom_id"] for r in results(offpeak)] == ids
    sent = [b["custom_id"] for b in offpeak.emulator.bill() if b["state"] == "accepted"]
    assert len(sent) == len(ids) and all(len(i) <= 64 and i.isascii() for i in sent)
    offpeak.run("export", "job-1", "--results", "--output", "again.jsonl", expect=0)
    assert [r["custom_id"] for r in results(offpeak, "again.jsonl")] == ids


def test_ids_that_are_used_twice(program):
    """Each line is asked, and answered under its own id; equal lines are bought once."""
    offpeak = program()
    lines = [line("a", "one"), line("b", "two"), line("a", "three"), line("a (2)", "four"),
             line("a", "five"), line("b", "two")]
    write(offpeak.cwd / "r.jsonl", lines)
    run(offpeak)
    found = results(offpeak)
    assert [r["custom_id"] for r in found] == ["a", "b", "a", "a (2)", "a", "b"]
    texts = [json.dumps(r["result"]["message"]["content"]) for r in found]
    assert len(set(texts)) == 5 and texts[1] == texts[5]
    assert bought(offpeak) == 5
    # the same again buys nothing; taken out and asked again, neither
    run(offpeak)
    offpeak.run("export", "job-1", "--output", "e.jsonl", expect=0)
    offpeak.run("run", "e.jsonl", "--output", "again.jsonl", expect=0)
    assert bought(offpeak) == 5 and len(results(offpeak, "again.jsonl")) == 6
    offpeak.run("doctor", "--audit", expect=0)


def test_ids_of_lines_without_a_result(program):
    """Also what the provider never returned is given back under the id it came with."""
    offpeak = program(faults=[{"on": "results", "do": "drop_line", "match": "word-two"}])
    write(offpeak.cwd / "r.jsonl", [line("a", "word-one"), line("a", "word-two"),
                                    line("b (1)", "word-two")])
    run(offpeak, expect=3)
    found = results(offpeak)
    assert sorted(r["custom_id"] for r in found) == ["a", "a", "b (1)"]
    assert collections.Counter("error" in r for r in found) == {True: 2, False: 1}


def test_a_mark_and_windows_line_ends(program):
    offpeak = program()
    write(offpeak.cwd / "r.jsonl", [line("a", "one"), line("b", "zwölf")], "\r\n", b"\xef\xbb\xbf")
    run(offpeak)
    assert [r["custom_id"] for r in results(offpeak)] == ["a", "b"]
    prompts = [r for file, in offpeak.ledger("SELECT file FROM batch") for r in
               json.loads((offpeak.state / "spool" / file).read_text())["requests"]]
    assert prompts[1]["params"]["messages"][0]["content"] == "Tell of zwölf"


def test_mixed_and_unknown_models(program):
    """Two models run side by side; one that there is not is refused by the provider, by name."""
    offpeak = program()
    write(offpeak.cwd / "r.jsonl", [line("a", "one"), line("b", "two", "claude-opus-5-5"),
                                    line("c", "three", "claude-does-not-exist-9")])
    done = run(offpeak, expect=3)
    found = {r["custom_id"]: r["result"]["type"] for r in results(offpeak)}
    assert found == {"a": "succeeded", "b": "succeeded", "c": "errored"}
    failed, = offpeak.json("list", "--failed")["failed"]
    assert failed["key"] == "c" and "claude-does-not-exist-9" in failed["reason"]
    assert "claude-does-not-exist-9" in done.stderr
    assert bought(offpeak) == 2


def test_a_model_of_another_provider(program, tmp_path):
    offpeak = program()
    offpeak.env.pop("ANTHROPIC_BASE_URL")  # a server of somebody else may carry any model
    write(offpeak.cwd / "r.jsonl", [line("a", "one"), line("b", "two", "gpt-5.5-mini")])
    done = run(offpeak, expect=1)
    assert "gpt-5.5-mini" in done.stderr and "r.jsonl:2" in done.stderr, done.stderr
    assert "openai" in done.stderr.lower() and not (offpeak.cwd / "out.jsonl").exists()
    folder = write_pipeline(tmp_path / "p", 2, 2)
    done = offpeak.run("run", folder, "--path", folder / "items.csv", "--provider", "anthropic",
                       "--model", "gpt-5.5-mini")
    assert done.returncode in (1, 2) and "gpt-5.5-mini" in done.stderr
    assert not offpeak.emulator.bill()


def test_an_unknown_model_in_a_pipeline(program, tmp_path):
    offpeak = program()
    folder = write_pipeline(tmp_path / "p", 2, 2)
    done = offpeak.run("run", folder, "--path", folder / "items.csv", "--model",
                       "claude-does-not-exist-9", expect=3)
    assert "claude-does-not-exist-9" in done.stderr and bought(offpeak) == 0
    assert offpeak.json("cost")["total"]["microusd"] == 0


# --- answers ----------------------------------------------------------------------------------


HOW = {  # what comes: (fault, faults of that kind that a record survives, word of the reason)
    "no JSON": ({"do": "invalid_answer", "how": "not_json"}, "JSON"),
    "nothing": ({"do": "invalid_answer", "how": "empty"}, ""),
    "a member missing": ({"do": "invalid_answer", "how": "missing"}, "text"),
    "cut in the middle": ({"do": "truncated_answer"}, "cut at max_tokens"),
}


@pytest.mark.parametrize("name", HOW)
def test_a_bad_answer_is_asked_again_and_then_named(program, tmp_path, name):
    """Once: nobody notices but the counts. For ever: the record fails with its reason, the others are
    delivered, and what came back is kept and shown."""
    fault, word = HOW[name]
    folder = write_pipeline(tmp_path / "p", 3, 3)
    offpeak = program(faults=[{"on": "results", "match": "word0\"", "nth": 1, **fault},
                              {"on": "results", "match": "word1\"", **fault}])
    done = offpeak.run("run", folder, "--path", folder / "items.csv", expect=3)
    assert sorted(r["id"] for r in offpeak.csv("answers.csv")) == ["r000", "r002"]
    failed, = offpeak.json("list", "--failed")["failed"]
    assert failed["key"] == "r001" and word in failed["reason"], failed
    assert failed["bought_again"] == 1 and "r001" not in done.stdout
    story = offpeak.json("show", "r001")["requests"][0]
    assert len(story["results"]) == 2 and not story["good"] and story["results"][1]["why"]
    assert all(s["microusd"] > 0 for s in story["results"])
    good = offpeak.json("show", "r000")["requests"][0]
    assert [s["valid"] for s in good["results"]] == [False, True] and good["good"]


def test_fenced_JSON_is_taken(program, tmp_path):
    """In a fence or in prose: the JSON counts, a warning says so, nothing is bought again."""
    folder = write_pipeline(tmp_path / "p", 3, 3)
    offpeak = program(faults=[
        {"on": "results", "match": "word0\"", "do": "invalid_answer", "how": "fenced"},
        {"on": "results", "match": "word1\"", "do": "invalid_answer", "how": "prose"}])
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    assert len(offpeak.csv("answers.csv")) == 3 and bought(offpeak) == 3
    assert offpeak.json("status", "job-1")["jobs"][0]["counts"]["warnings"] == 2


# --- a whole batch ----------------------------------------------------------------------------


def test_413_in_html(program, tmp_path):
    """A proxy finds the batch too large and says so in HTML: it goes in halves, nothing twice."""
    folder = write_pipeline(tmp_path / "p", 8, 8)
    offpeak = program(faults=[{"on": "create", "do": "html_body", "status": 413, "times": 2}])
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    assert len(offpeak.csv("answers.csv")) == 8 and bought(offpeak) == 8
    accepted = collections.Counter(b["batch"] for b in offpeak.emulator.bill()
                                   if b["state"] == "accepted")
    assert sorted(accepted.values()) == [2, 2, 4]  # eight, then four of them, were too many


def test_413_in_html_for_one_request(program, tmp_path):
    """What cannot be halved any more fails, and the message is for people, not a page."""
    folder = write_pipeline(tmp_path / "p", 2, 2)
    offpeak = program(faults=[{"on": "create", "do": "html_body", "status": 413}])
    done = offpeak.run("run", folder, "--path", folder / "items.csv", expect=3)
    failed = offpeak.json("list", "--failed")["failed"]
    assert len(failed) == 2 and all("413" in f["reason"] and "too large" in f["reason"]
                                    for f in failed)
    assert "<html" not in done.stdout + json.dumps(failed)
    assert not offpeak.emulator.bill()
