"""pipelines/language-issues: a language report in, one CSV a document out.

Behaviour: docs/guide/language-issues.md.
Stimulus:  the sample that comes along, and reports made here; an emulator with scripted answers.
Oracle:    what this file works out itself from the report and the scripted answers (each test says what), and
           the emulator's record of what was asked and billed.
"""
import csv
import json
import pathlib
import random
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import ROOT, Emulator, Offpeak, clock  # noqa: E402

PIPELINE = ROOT / "pipelines" / "language-issues"
SPEED = 20000
HEAD = ["Subject", "Filename", "Page", "Rule ID", "Type", "Issue", "Message", "Suggestions", "Highlighted Context",
        "Pass Code"]
COLUMNS = ["issue_id", "page_number", "issue", "highlighted_context", "pass_code", "error_category",
           "confidence_score", "reasoning"]


class World:
    def __init__(self, folder, answers, faults=None):
        self.dir = folder
        self.emulator = Emulator(folder, speed=SPEED, answers=answers, faults=faults)
        self.emulator.__enter__()
        self.program = Offpeak(folder, self.emulator, OFFPEAK_CLOCK=clock(SPEED))
        self.root = self.program.cwd

    def document(self, subject, name, text):
        path = self.root / "Documents" / subject / "markdown" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def report(self, rows, head=HEAD):
        path = self.root / "Documents" / "language-check-report.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="", encoding="utf-8") as f:
            writer = csv.writer(f)
            writer.writerow(head)
            writer.writerows(rows)

    def run(self, *args, command="run", expect=0, **env):
        return self.program.run(command, PIPELINE, *args, expect=expect, **env)

    def rows(self, subject, name):
        path = self.root / "Documents" / subject / "document_reports" / (name[:-3] + ".csv")
        raw = path.read_bytes()
        assert raw.count(b"\n") == raw.count(b"\r\n")
        with open(path, newline="", encoding="utf-8") as f:
            reader = csv.DictReader(f)
            assert reader.fieldnames == COLUMNS
            return list(reader)

    def json(self, name):
        return json.loads((self.root / "data" / name).read_text())

    def asked(self):
        """The prompts that were sent."""
        found = []
        for path in sorted((self.dir / "emulator").rglob("*")):
            if path.is_file() and path.suffix == ".requests":
                found += [json.loads(x) for x in path.read_bytes().splitlines()]
        texts = [json.dumps(x, ensure_ascii=False) for x in found]
        return texts


@pytest.fixture
def world(tmp_path):
    worlds = []

    def start(answers, **more):
        worlds.append(World(tmp_path, answers, **more))
        return worlds[-1]

    yield start
    for one in worlds:
        one.emulator.__exit__()


def row(subject, name, page="1", issue="teh", context="in teh text", code="LT"):
    return [subject, name, page, "RULE", "misspelling", issue, "Possible mistake", "the", context, code]


def item(n, category="SPELLING_ERROR", score=90, why="It is wrong."):
    return {"issue_id": n, "error_category": category, "confidence_score": score, "reasoning": why}


def rule(name, ids, items):
    return {"match": f"{name} (issues {', '.join(map(str, ids))})", "json": items}


PAGES = "{0}-----\nfront\n\n{1}-----\npage one\n\n{2}-----\npage two\n\n{3}-----\n"


def test_the_sample(world, tmp_path):
    """Oracle: the rows written down in sample/answers.jsonl; the first answer left issue 2 out."""
    answers = [json.loads(x) for x in (PIPELINE / "sample" / "answers.jsonl").read_text().splitlines()
               if not x.startswith("#")]
    w = world(answers)
    shutil.copytree(PIPELINE / "sample" / "Documents", w.root / "Documents")
    done = w.run()
    assert "Skipping malformed row 4" in done.stderr
    assert "Issue ID 999 not in batch, skipping" in done.stderr
    got = [(r["issue_id"], r["page_number"], r["error_category"], r["confidence_score"], r["pass_code"])
           for r in w.rows("Geography", "gcse-geography.md")]
    assert got == [("0", "0", "ABSOLUTE_GRAMMATICAL_ERROR", "97", "LT"), ("1", "1", "FALSE_POSITIVE", "90", "LT"),
                   ("2", "1", "FALSE_POSITIVE", "88", "LTC")]
    assert [r["error_category"] for r in w.rows("Art and Design", "gcse-art.md")] == \
        ["SPELLING_ERROR", "ABSOLUTE_GRAMMATICAL_ERROR"]
    state = w.json("llm_categoriser_state.json")
    assert state == {"version": "1.0", "subjects": {
        "Art and Design": {"gcse-art.md": {"completed_batches": [0], "total_issues": 2}},
        "Geography": {"gcse-geography.md": {"completed_batches": [0], "total_issues": 3}}}}
    tracking = w.json("batch_jobs.json")
    entry = tracking["Geography/gcse-geography.md#0"]
    assert set(entry) == {"provider_name", "job_name", "subject", "filename", "batch_index", "issue_ids",
                          "created_at", "status", "error_message"}
    assert entry["issue_ids"] == [0, 1, 2] and entry["status"] == "completed" and entry["error_message"] is None
    assert entry["provider_name"] == "gemini" and entry["job_name"].startswith("batches/")
    assert w.json("llm_categoriser_failures.json") == {"issues": []}
    bill = len(w.emulator.bill())
    w.run()  # nothing is left to ask
    assert len(w.emulator.bill()) == bill


def test_filters_and_batch_size(world):
    """Two subjects in one option, case ignored; ids do not depend on filters. Oracle: the rows there are."""
    answers = [rule("a.md", [0, 1], [item(0), item(1)]), rule("a.md", [2], [item(2)]), rule("c.md", [0], [item(0)])]
    w = world(answers)
    for subject, name in (("Maths", "a.md"), ("Maths", "b.md"), ("Art and Design", "c.md"), ("French", "d.md")):
        w.document(subject, name, PAGES)
    w.report([row("Maths", "a.md"), row("Maths", "b.md"), row("Maths", "a.md"), row("Art and Design", "c.md"),
              row("Maths", "a.md", page="2"), row("French", "d.md")])
    w.run("--subjects", "maths", "ART and design", "--documents", "A.md", "c.md", "--batch-size", "2")
    assert [r["issue_id"] for r in w.rows("Maths", "a.md")] == ["0", "1", "2"]
    assert [r["issue_id"] for r in w.rows("Art and Design", "c.md")] == ["0"]
    assert not (w.root / "Documents/French/document_reports").exists()
    done = w.run("--documents", "nothing.md", expect=1)
    assert "No issues found matching the filters" in done.stderr


def test_bad_items_and_what_is_left_out(world):
    """Duplicates, foreign ids, bad categories and scores, items without fields. Oracle: the last valid item of
    each id stands; the rest is asked again, only that; what never comes is listed with its reason."""
    first = [item(0, why="first"), item(0, why="last"), item(1, score=0.45), item(2, category="WRONG"),
             item(3, score=101), {"issue_id": 4, "error_category": "SPELLING_ERROR"}, item(77)]
    w = world([rule("a.md", [0, 1, 2, 3, 4], first), rule("a.md", [2, 3, 4], [item(2), item(3)])])
    w.document("Maths", "a.md", PAGES)
    w.report([row("Maths", "a.md") for _ in range(5)])
    done = w.run()
    for sentence in ("Issue ID 77 not in batch, skipping", "Issue 4 missing required fields",
                     "Issue 2 has an unknown category", "Issue 3 has no confidence"):
        assert sentence in done.stderr, sentence
    got = {r["issue_id"]: (r["confidence_score"], r["reasoning"]) for r in w.rows("Maths", "a.md")}
    assert got == {"0": ("90", "last"), "1": ("45", "It is wrong."), "2": ("90", "It is wrong."),
                   "3": ("90", "It is wrong.")}
    entry = w.json("batch_jobs.json")["Maths/a.md#0"]
    assert (entry["status"], entry["error_message"]) == ("failed", "no valid answer for issues 4")
    assert w.json("llm_categoriser_state.json")["subjects"]["Maths"]["a.md"]["completed_batches"] == []
    assert [x["issue_id"] for x in w.json("llm_categoriser_failures.json")["issues"]] == [4]


@pytest.mark.parametrize("text,page,wanted,unwanted", [
    (PAGES, "2", ["page two"], ["front", "page one"]),
    (PAGES, "", ["front", "page one", "page two"], []),
    ("no marker here\n", "5", ["no marker here"], []),
])
def test_pages(world, tmp_path, text, page, wanted, unwanted):
    """Oracle: the pages an issue needs are shown by --dry-run, each once, with the document's name."""
    w = world([])
    w.document("Cymraeg: iaith \"1\"", "é.md", text)
    w.report([row("Cymraeg: iaith \"1\"", "é.md", page=page), row("Cymraeg: iaith \"1\"", "é.md", page=page)])
    said = w.run("--dry-run").stdout
    assert "Cymraeg: iaith \"1\" / é.md" in said.replace("\\\"", "\"")
    for part in wanted:
        assert said.count(part) == 1, part
    for part in unwanted:
        assert part not in said


@pytest.mark.parametrize("spoil,message", [
    ("columns", "CSV missing required columns: Message"),
    ("tracking", "is no JSON"),
    ("array", "is no tracking file"),
    ("version", "is not of version 1.0"),
])
def test_bad_input(world, spoil, message):
    """Oracle: exit code 1, a message that names what is wrong, and an empty bill."""
    w = world([])
    w.document("Maths", "a.md", PAGES)
    w.report([row("Maths", "a.md")])
    (w.root / "data").mkdir()
    if spoil == "columns":
        keep = [i for i, name in enumerate(HEAD) if name != "Message"]
        w.report([[row("Maths", "a.md")[i] for i in keep]], [HEAD[i] for i in keep])
    elif spoil == "version":
        (w.root / "data/llm_categoriser_state.json").write_text('{"version": "2.0", "subjects": {}}')
    else:
        text = "[]" if spoil == "array" else '{\n<<<<<<< ours\n"a": {}'
        (w.root / "data/batch_jobs.json").write_text(text)
    done = w.run(expect=1)
    assert message in done.stderr and not w.emulator.bill()


def test_missing_markdown_is_said_and_the_rest_is_done(world):
    """Oracle: the warning with the path; the other document's rows; the issue is listed as failed."""
    w = world([rule("a.md", [0], [item(0)])])
    w.document("Maths", "a.md", PAGES)
    w.report([row("Maths", "gone.md"), row("Maths", "a.md")])
    done = w.run()
    assert "Markdown file not found" in done.stderr and "gone.md" in done.stderr
    assert len(w.rows("Maths", "a.md")) == 1
    assert w.json("llm_categoriser_failures.json")["issues"] == [
        {"subject": "Maths", "filename": "gone.md", "issue_id": 0, "why": "no Markdown file"}]


def test_create_tells_what_is_pending_and_another_checkout_leaves_it_alone(world, tmp_path):
    """Two checkouts, one file each side of a merge. Oracle: after the merge (the union of both files' entries)
    neither asks what the other has sent: every issue is bought once, and all entries end completed."""
    w = world([rule("a.md", [0], [item(0)]), rule("b.md", [0], [item(0)])])
    other = Offpeak(tmp_path / "other", w.emulator, OFFPEAK_CLOCK=clock(SPEED))
    for root in (w.root, other.cwd):
        for subject, name in (("Maths", "a.md"), ("Art", "b.md")):
            path = root / "Documents" / subject / "markdown" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PAGES)
    w.report([row("Maths", "a.md"), row("Art", "b.md")])
    shutil.copy(w.root / "Documents/language-check-report.csv", other.cwd / "Documents")
    w.run("--subjects", "Maths", command="create", expect=3)
    other.run("create", PIPELINE, "--subjects", "Art", expect=3)
    files = [root / "data/batch_jobs.json" for root in (w.root, other.cwd)]
    sides = [json.loads(f.read_text()) for f in files]
    assert [e["status"] for side in sides for e in side.values()] == ["pending", "pending"]
    merged = {**sides[0], **sides[1]}
    for f in files:
        f.write_text(json.dumps(merged, indent=2) + "\n")
    sent = len(w.emulator.bill())
    other.run("run", PIPELINE, expect=0)  # all subjects: its own are pending, and so are the other's
    w.program.run("fetch", "--check-all-pending", "--wait", expect=0)
    other.run("fetch", "--check-all-pending", "--wait", expect=0)
    assert sum(b["state"] == "accepted" for b in w.emulator.bill()) == 2 and sent >= 2
    ends = [json.loads(f.read_text()) for f in files]
    assert ends[0]["Maths/a.md#0"]["status"] == "completed" and ends[1]["Art/b.md#0"]["status"] == "completed"
    assert set(ends[0]) == set(ends[1]) == set(merged)


def test_fetch_for_scripts(world):
    """The guide's loop. Oracle: --status pending names the job while it is open and nothing afterwards; the
    commands exit with 0 whatever is still to come; job names may be the provider's."""
    w = world([rule("a.md", [0], [item(0)])])
    w.document("Maths", "a.md", PAGES)
    w.report([row("Maths", "a.md")])
    w.run(command="create", expect=3)
    assert "job-1" in w.program.run("list", "--status", "pending", expect=0).stdout
    name = w.json("batch_jobs.json")["Maths/a.md#0"]["job_name"]
    w.program.run("fetch", "--job-names", name, "--wait", expect=0)
    assert "job-1" not in w.program.run("list", "--status", "pending", expect=0).stdout
    assert "job-1" in w.program.run("list", "--status", "completed", expect=0).stdout
    assert "No jobs specified" in w.program.run("fetch", expect=2).stderr


def test_editing_the_prompt_asks_nothing_unless_forced(world, tmp_path):
    """Oracle: the bill. What has a valid row is not asked; --force asks it with the new words."""
    w = world([rule("a.md", [0], [item(0)])])
    mine = tmp_path / "mine"
    shutil.copytree(PIPELINE, mine)
    w.document("Maths", "a.md", PAGES)
    w.report([row("Maths", "a.md")])

    def bought():
        return sum(b["state"] == "succeeded" for b in w.emulator.bill())
    w.program.run("run", mine, expect=0)
    with open(mine / "system.md", "a") as f:
        f.write("\nBe brief.\n")
    w.program.run("run", mine, expect=0)
    assert bought() == 1
    w.program.run("run", mine, "--force", expect=0)
    assert bought() == 2
    w.program.run("run", mine, "--force", expect=0)  # the very same question: reused
    assert bought() == 2


def test_a_report_of_the_real_size(world):
    """7,000 issues, 220 documents, 24 subjects; of every answer items are shuffled, some missing, doubled or
    invalid. Oracle: each issue has the row of the answer that settled it, or is in the list of failures."""
    dice = random.Random(8)
    subjects = [f"Subject {i}" + (" é", " \"q\"", "", ", and more")[i % 4] for i in range(24)]
    documents = [(subjects[i % 24], f"doc-{i}.md") for i in range(220)]
    rows, count = [], dict.fromkeys(documents, 0)
    for n in range(7000):
        d = documents[n % 220 if n < 2200 else dice.randrange(220)]
        rows.append(row(*d, page=str(dice.randrange(4)) if dice.random() < .95 else "", context=f"context {n}"))
        count[d] += 1
    answers, want, lost = [], {}, set()
    for d, total in count.items():
        for first in range(0, total, 10):
            ids = list(range(first, min(first + 10, total)))
            bad = [i for i in ids if dice.random() < .05]
            items = [item(i, why=f"first {i}") for i in ids if i not in bad]
            items += [item(i, category="NONSENSE") for i in bad if dice.random() < .5]
            dice.shuffle(items)
            if items and dice.random() < .1:
                items.append(item(items[0]["issue_id"], category="FALSE_POSITIVE", score=0.5, why="twice")
                             if items[0]["error_category"] != "NONSENSE" else item(100000))
            answers.append(rule(f"{d[0]} / {d[1]}", ids, items))
            good = {x["issue_id"]: x["reasoning"] for x in items
                    if x["error_category"] != "NONSENSE" and x["issue_id"] in ids}
            if bad == ids:  # the second question reads like the first
                answers[-1]["times"] = 1
            if bad:
                again = [item(i, why=f"second {i}") for i in bad if dice.random() < .8]
                answers.append(rule(f"{d[0]} / {d[1]}", bad, again))
                good.update({x["issue_id"]: x["reasoning"] for x in again})
            want.update({(d, i): why for i, why in good.items()})
            lost |= {(d, i) for i in ids if i not in good}
    w = world(answers)
    for d in documents:
        w.document(*d, PAGES)
    w.report(rows)
    w.run(timeout=300)
    got = {}
    for d in documents:
        for r in w.rows(*d):
            got[d, int(r["issue_id"])] = r["reasoning"]
            assert r["highlighted_context"].startswith("context ")
    assert got == want
    failures = w.json("llm_categoriser_failures.json")["issues"]
    assert {((x["subject"], x["filename"]), x["issue_id"]) for x in failures} == lost
    assert len(got) + len(lost) == 7000
    with open(w.root / "Documents/llm_categorised-language-check-report.csv", newline="", encoding="utf-8") as f:
        assert sum(1 for _ in csv.DictReader(f)) == len(got)
