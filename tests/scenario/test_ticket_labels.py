# SPDX-License-Identifier: MIT
"""ticket-labels, the smallest pipeline, and the commands of the README that use it.

Behaviour: open tickets are labelled, closed ones are not asked about; the CSV of labels has one row a
           ticket under its id; the same command again buys nothing.
Oracle:    the tickets read with the csv module, compared with what was sent (payload files) and with
           labels.csv; scripted answers where their content matters.
"""
import csv
import json
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import ROOT, Offpeak  # noqa: E402

FOLDER = ROOT / "pipelines" / "ticket-labels"
LABELS = json.loads((FOLDER / "label.schema.json").read_text())["properties"]["label"]["enum"]


@pytest.fixture
def offpeak(tmp_path):
    return Offpeak(tmp_path)


def tickets(path=FOLDER / "tickets.csv"):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def prompts(offpeak):
    """The user prompts that were sent, in order."""
    files = sorted((offpeak.state / "spool" / "payload").glob("*.json"), key=lambda f: f.stat().st_mtime_ns)
    sent = [r["params"] for f in files for r in json.loads(f.read_text(encoding="utf-8"))["requests"]]
    content = [p["messages"][0]["content"] for p in sent]
    return [c if isinstance(c, str) else "".join(b["text"] for b in c) for c in content]


def run(offpeak, *options, path=FOLDER / "tickets.csv", expect=0):
    return offpeak.run("run", "ticket-labels", "--path", path, "--emulate", *options, expect=expect)


def scripted(tmp_path, *rules):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    return ["--emulate-answers", path]


def test_open_tickets_get_a_label(offpeak):
    run(offpeak)
    open_ = [t for t in tickets() if t["status"] == "open"]
    assert 0 < len(open_) < len(tickets())
    assert prompts(offpeak) == [f"Subject: {t['subject']}\n\n{t['body']}\n" for t in open_]
    labels = offpeak.csv("labels.csv")
    assert [row["id"] for row in labels] == [t["id"] for t in open_]
    for row in labels:
        assert list(row) == ["id", "label", "urgent"]
        assert row["label"] in LABELS and row["urgent"] in ("true", "false")


def test_labels_are_the_models(offpeak, tmp_path):
    run(offpeak, *scripted(
        tmp_path, {"match": "Charged twice", "json": {"label": "billing", "urgent": False}},
        {"match": "Locked out", "json": {"label": "account", "urgent": True}},
        {"json": {"label": "other", "urgent": False}}))
    labels = {row["id"]: (row["label"], row["urgent"]) for row in offpeak.csv("labels.csv")}
    assert labels == {"101": ("billing", "false"), "102": ("other", "false"),
                      "104": ("other", "false"), "105": ("other", "false"),
                      "106": ("account", "true")}


def test_a_label_that_does_not_exist_is_asked_again(offpeak, tmp_path):
    run(offpeak, *scripted(
        tmp_path, {"match": "Dark mode", "json": {"label": "wish", "urgent": False}, "times": 1},
        {"json": {"label": "feature", "urgent": False}}))
    assert {row["label"] for row in offpeak.csv("labels.csv")} == {"feature"}
    assert sum("Dark mode" in p for p in prompts(offpeak)) == 2


def test_again_buys_nothing_and_a_new_ticket_is_one_request(offpeak, tmp_path):
    path = tmp_path / "tickets.csv"
    shutil.copy(FOLDER / "tickets.csv", path)
    run(offpeak, path=path)
    labels = (offpeak.cwd / "labels.csv").read_bytes()
    run(offpeak, path=path)
    assert len(prompts(offpeak)) == 5 and (offpeak.cwd / "labels.csv").read_bytes() == labels
    with open(path, "a", encoding="utf-8") as file:
        file.write("107,open,Invoice,Please send it again.\n")
    run(offpeak, path=path)
    assert len(prompts(offpeak)) == 6 and "Please send it again." in prompts(offpeak)[-1]
    assert [row["id"] for row in offpeak.csv("labels.csv")][-1] == "107"


def test_options_of_the_pipeline(offpeak):
    run(offpeak, "--out", "mine.csv", "--model", "claude-haiku-4-5")
    assert len(offpeak.csv("mine.csv")) == 5 and not (offpeak.cwd / "labels.csv").exists()
    done = offpeak.run("run", "ticket-labels", "--emulate")
    assert done.returncode == 2 and "path" in done.stderr


def test_validate_and_estimate(offpeak):
    offpeak.run("validate", "ticket-labels", expect=0)
    figures = offpeak.json("estimate", "ticket-labels", "--path", FOLDER / "tickets.csv")
    assert (figures["records"], figures["requests"], figures["batches"]) == (5, 5, 1)
    assert 0 < figures["batch_microusd"] < figures["realtime_microusd"]
    assert not (offpeak.state / "spool" / "payload").exists() or not prompts(offpeak)


def test_readme_one_line_form(offpeak):
    """README, "From a CSV to a CSV"; the closed ticket is asked about too: there is no pipeline."""
    args = ("run", "--input", FOLDER / "tickets.csv", "--model", "claude-haiku-5-5", "--prompt",
            "What is this ticket about, in three words? {{subject}}: {{body}}", "--output",
            "answers.csv", "--emulate")
    offpeak.run(*args, expect=0)
    answers = offpeak.csv("answers.csv")
    assert sorted(next(iter(row.values())) for row in answers) == [t["id"] for t in tickets()]
    assert prompts(offpeak) == [
        f"What is this ticket about, in three words? {t['subject']}: {t['body']}" for t in tickets()]
    offpeak.run(*args, expect=0)
    assert len(prompts(offpeak)) == len(tickets())
    assert offpeak.csv("answers.csv") == answers
