# SPDX-License-Identifier: MIT
"""narrative-reports: from a Polis export to stored reports.

Behaviour: the sections, the comments in each and their order, the counts and the XML that reach the
           model; what is left out; what is stored under which key; what is not asked again.
Stimulus:  `offpeak run narrative-reports --emulate` on ten real conversations, on the sample that
           comes along, and on small exports made here.
Oracle:    tests/support/polis_oracle.py (plain Python over the CSV files), compared with the payload
           files that were sent and with the rows of the SQLite database.
"""
import csv
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import polis_oracle  # noqa: E402
from harness import OFFPEAK, ROOT, SHARED, Offpeak, environment  # noqa: E402

SAMPLE = ROOT / "pipelines" / "narrative-reports" / "sample"
POLIS = SHARED / "data" / "polis-opendata"
CONVERSATIONS = [
    "15-per-hour-seattle", "bg2050-volunteers", "brexit-consensus", "canadian-electoral-reform",
    "football-concussions", "london.youth.policing", "scoop-hivemind.affordable-housing",
    "scoop-hivemind.freshwater", "scoop-hivemind.ubi", "vtaiwan.uberx",
]
MODEL = "claude-sonnet-5-5"
COLUMNS = ["rid_section_model", "timestamp", "report_id", "section", "model", "report_data",
           "job_id", "batch_id", "metadata"]


# ---- running and looking ----


@pytest.fixture
def offpeak(tmp_path):
    return Offpeak(tmp_path)


def run(offpeak, folder, *options, zid="42", expect=0):
    return offpeak.run("run", "narrative-reports", "--conversation_id", zid, "--dir", folder,
                       "--emulate", *options, expect=expect)


def batches(offpeak):
    """The requests of every batch that was sent, batch by batch in the order of sending."""
    files = (offpeak.state / "spool" / "payload").glob("*.json")
    ordered = sorted(files, key=lambda f: [int(n) for n in re.findall(r"\d+", f.name.split("-")[0])])
    return [json.loads(f.read_text(encoding="utf-8"))["requests"] for f in ordered]


def requests(offpeak):
    return [request["params"] for batch in batches(offpeak) for request in batch]


def text_of(content):
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content)


def user(params):
    (message,) = params["messages"]
    assert message["role"] == "user"
    return text_of(message["content"])


def xml(params):
    """The comments as the model sees them."""
    (found,) = re.findall(r"<\?xml .*</polis-comments>", user(params), re.S)
    return found


def ids(params):
    return [int(c.get("id")) for c in ET.fromstring(xml(params).encode()).iter("comment")]


def rows(offpeak, name="narratives.sqlite"):
    db = sqlite3.connect(f"file:{offpeak.cwd / name}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    try:
        found = db.execute("SELECT * FROM Delphi_NarrativeReports ORDER BY rowid").fetchall()
    finally:
        db.close()
    return {row["section"]: row for row in found}


# ---- what must hold ----


def check_xml(params, section):
    """Once as text, and once as a reader of XML gets it, number by number."""
    assert xml(params) == section.xml()
    comments = list(ET.fromstring(xml(params).encode()))
    assert [int(c.get("id")) for c in comments] == section.ids
    for element, comment in zip(comments, section.comments):
        text = re.sub("\r\n?", "\n", polis_oracle.ILLEGAL.sub("", comment.text))
        assert (element.find("text").text or "") == text
        assert counts(element) == comment.all.attributes()
        groups = {int(g.tag[6:]): counts(g) for g in element if g.tag != "text"}
        assert groups == {gid: t.attributes() for gid, t in comment.groups.items()}


def counts(element):
    return {name: int(element.get(name)) for name in ("votes", "agrees", "disagrees", "passes")}


def check_request(params, section, summary):
    check_xml(params, section)
    prompt = user(params)
    assert params["model"] == MODEL and params["max_tokens"] == 8000
    assert text_of(params["system"]).strip()
    if section.key not in polis_oracle.GLOBAL_NAMES:
        assert section.name in prompt
    for key in ("topic", "conversation-description"):
        assert summary.get(key, "").strip() in prompt


def check_report(text, allowed):
    """Exactly the members that the report's readers expect; citations among the comments sent."""
    report = json.loads(text)
    assert sorted(report) == ["id", "paragraphs", "title"]
    assert report["paragraphs"], "a report without paragraphs"
    assert isinstance(report["id"], str) and isinstance(report["title"], str)
    for paragraph in report["paragraphs"]:
        assert sorted(paragraph) == ["id", "sentences", "title"]
        for sentence in paragraph["sentences"]:
            assert sorted(sentence) == ["clauses"]
            for clause in sentence["clauses"]:
                assert sorted(clause) == ["citations", "text"]
                assert isinstance(clause["text"], str)
                assert all(type(c) is int for c in clause["citations"])
                assert set(clause["citations"]) <= set(allowed)
    return report


def check_row(row, section, report_id):
    assert list(row.keys()) == COLUMNS
    assert row["rid_section_model"] == f"{report_id}#{section.key}#{MODEL}"
    assert (row["report_id"], row["section"], row["model"]) == (report_id, section.key, MODEL)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", row["timestamp"])
    assert row["job_id"] and row["batch_id"]
    assert json.loads(row["metadata"])["topic_name"] == section.name
    check_report(row["report_data"], section.ids)


def check_run(offpeak, folder, report_id="r42"):
    expected = polis_oracle.sections(folder)
    summary = polis_oracle.summary(folder)
    sent = requests(offpeak)
    assert [ids(p) for p in sent] == [s.ids for s in expected]
    for params, section in zip(sent, expected):
        check_request(params, section, summary)
    stored = rows(offpeak)
    assert sorted(stored) == sorted(s.key for s in expected)
    for section in expected:
        check_row(stored[section.key], section, report_id)
    return expected


# ---- whole conversations ----


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation(offpeak, name):
    if not POLIS.is_dir():
        pytest.skip(f"no real conversations: {POLIS} is not there")
    run(offpeak, POLIS / name)
    expected = check_run(offpeak, POLIS / name)
    assert {s.key for s in expected} <= set(polis_oracle.GLOBAL_NAMES)
    assert len(expected) >= 2


def test_published_consensus():
    """The oracle itself: bg2050-volunteers publishes Polis' own number beside each comment."""
    if not POLIS.is_dir():
        pytest.skip(f"no real conversations: {POLIS} is not there")
    folder = POLIS / "bg2050-volunteers"
    published = {int(r["comment-id"]): float(r["group-informed-consensus"])
                 for r in polis_oracle.table(folder, "comments.csv")}
    for comment in polis_oracle.read_comments(folder):
        assert comment.consensus() == pytest.approx(published[comment.id], abs=1e-12)


def test_sample(offpeak):
    run(offpeak, SAMPLE)
    expected = check_run(offpeak, SAMPLE)
    keys = [s.key for s in expected]
    assert keys[:3] == list(polis_oracle.GLOBAL_NAMES)
    assert keys[3:] == ["layer0_0", "layer0_1", "layer0_2", "layer0_3", "layer0_4", "layer0_5",
                        "layer1_1", "layer1_0", "layer1_2"]


def test_sample_is_what_its_generator_makes(tmp_path):
    script = ROOT / "tests" / "support" / "make_sample.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (SAMPLE / path.name).read_bytes(), path.name


def test_sample_covers_the_hard_cases():
    comments = polis_oracle.table(SAMPLE, "comments.csv")
    texts = "".join(c["comment-body"] for c in comments)
    assert {c["moderated"] for c in comments} == {"-1", "0", "1"}
    assert len(comments) >= 36 and any(c["comment-id"] == "0" for c in comments)
    assert all(mark in texts for mark in ['"', ",", "\n", "é", "<", "&", "€"])
    votes = polis_oracle.table(SAMPLE, "votes.csv")
    assert len({(v["comment-id"], v["voter-id"]) for v in votes}) < len(votes)
    people = polis_oracle.table(SAMPLE, "participants-votes.csv")
    assert {p["group-id"] for p in people} == {"0", "1", "2", ""}


# ---- what is in and what is out ----


def test_comment_0_and_moderation(offpeak):
    run(offpeak, SAMPLE)
    sent = [ids(p) for p in requests(offpeak)]
    assert 0 in sent[0]
    gone = {int(c["comment-id"]) for c in polis_oracle.table(SAMPLE, "comments.csv")
            if c["moderated"] == "-1"}
    assert gone and not gone & {i for list_ in sent for i in list_}
    assert all("thornwick-deals.example" not in user(p) for p in requests(offpeak))


def copy_sample(tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(SAMPLE, folder)
    return folder


def write(folder, name, header, body):
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerows([header, *body])


def test_excluded_comments_stay_out(offpeak, tmp_path):
    folder = copy_sample(tmp_path)
    write(folder, "selections.csv", ["comment-id", "selection"],
          [[0, -1], [2, -1], [26, 1], [39, -1]])
    run(offpeak, folder)
    check_run(offpeak, folder)
    sent = {i for p in requests(offpeak) for i in ids(p)}
    assert not sent & {0, 2, 39} and 26 in sent
    assert all("fry an egg" not in xml(p) for p in requests(offpeak))


def test_topics_keys_order_and_samples(offpeak, tmp_path):
    folder = copy_sample(tmp_path)
    job = "6f1c0d3e-8a52-4a5e-9b1d-2f3a4b5c6d7e"
    write(folder, "topics.csv",
          ["topic_name", "cluster_id", "layer_id", "topic_key", "sample_comments", "model_name"],
          [["Kleines, mit \"Zitat\" & <Zeichen>", 5, 0, f"{job}#0#5", "", "x"],
           ["Trees", 1, 0, "",
            json.dumps(["KEEP THE OLD LIME TREE", "test", "SMOKING on the", "CAFÉ RENÉ"]), "x"],
           ["Nobody's topic", 77, 0, f"{job}#0#77", "", "x"],
           ["A layer that is not assigned", 0, 4, f"{job}#4#0", json.dumps(["pigeons"]), "x"],
           ["Life", 1, 1, f"{job}#1#1", json.dumps(["so: \"Secure bike stands at all four corners\""
                                                   " was said"]), "x"]])
    run(offpeak, folder)
    expected = check_run(offpeak, folder)
    assert [s.key for s in expected[3:]] == ["layer0_1", f"{job}_0_5", f"{job}_1_1"]
    topic = {s.key: s for s in expected}
    assert {10, 44} <= set(topic["layer0_1"].ids) and 43 not in topic["layer0_1"].ids
    assert 20 in topic[f"{job}_1_1"].ids


def test_without_topics_and_summary(offpeak, tmp_path):
    folder = copy_sample(tmp_path)
    for name in ("topics.csv", "assignments.csv", "summary.csv"):
        (folder / name).unlink()
    run(offpeak, folder)
    assert [s.key for s in check_run(offpeak, folder)] == list(polis_oracle.GLOBAL_NAMES)
    assert all("The conversation:" not in user(p) for p in requests(offpeak))


# ---- small exports made to a purpose ----


def export(folder, votes, people, texts=None, moderated=None):
    """votes: (comment, person, vote) in file order; people: person -> group or ''."""
    folder.mkdir()
    comments = sorted({c for c, _, _ in votes} | set(texts or {}))
    write(folder, "comments.csv", ["comment-body", "is-seed", "moderated", "comment-id"],
          [[(texts or {}).get(c, f"Statement {c}"), "true", (moderated or {}).get(c, 1), c]
           for c in comments])
    write(folder, "votes.csv", ["vote", "voter-id", "comment-id"], [[v, p, c] for c, p, v in votes])
    write(folder, "participants-votes.csv", ["group-id", "xid", "participant"],
          [[gid, "", person] for person, gid in people.items()])
    return folder


def test_empty_sections_are_not_bought(offpeak, tmp_path):
    people = {p: p % 2 for p in range(10)}
    folder = export(tmp_path / "calm", [(c, p, 1) for c in range(3) for p in people], people)
    run(offpeak, folder)
    (section,) = check_run(offpeak, folder)
    assert section.key == "global_group_informed_consensus" and section.ids == [0, 1, 2]


def test_nothing_to_tell_buys_nothing(offpeak, tmp_path):
    people = {p: p % 2 for p in range(10)}
    folder = export(tmp_path / "flat", [(0, p, 1 if p < 6 else -1) for p in people], people)
    run(offpeak, folder)
    assert batches(offpeak) == [] and polis_oracle.sections(folder) == []


def test_thresholds_are_not_passed_by_rounding(offpeak, tmp_path):
    """(36/40)(7/9) is exactly 0.7, which is not above 0.7; as rounded factors it would be."""
    people = {p: "0" if p < 38 else "1" for p in range(45)}
    votes = [(0, p, 1 if p < 35 else -1) for p in range(38)]
    votes += [(0, p, 1 if p < 44 else -1) for p in range(38, 45)]
    votes += [(1, p, v) for _, p, v in votes if p != 37]  # one disagree less: 36/39
    folder = export(tmp_path / "edge", votes, people)
    run(offpeak, folder)
    (section,) = check_run(offpeak, folder)
    assert section.key == "global_group_informed_consensus" and section.ids == [1]


def test_one_group_is_no_common_ground(offpeak, tmp_path):
    people = {0: 0, 1: 0, 2: 1, 3: 1, 4: ""}
    votes = [(7, 0, 1), (7, 1, 1), (7, 4, 1), (8, 4, 0), (9, 0, 0), (9, 0, 1), (9, 2, 1)]
    folder = export(tmp_path / "few", votes, people)
    run(offpeak, folder)
    (section,) = check_run(offpeak, folder)
    assert section.key == "global_uncertainty" and section.ids == [8]


def test_text_that_xml_cannot_hold(offpeak, tmp_path):
    people = {p: p % 2 for p in range(4)}
    texts = {0: 'a & b < c > d "e" \'f\'', 1: "bell\x07 tab\t vt\x0b nonchar\uffff end",
             2: "]]> &amp; <!-- --> {{comments}} {{{x}}}", 3: "zwei\nZeilen\r\nund 漢字 🐦"}
    folder = export(tmp_path / "odd", [(c, p, 0) for c in texts for p in people], people, texts)
    run(offpeak, folder)
    (section,) = check_run(offpeak, folder)
    assert section.ids == [0, 1, 2, 3]
    assert "{{comments}} {{{x}}}" in xml(requests(offpeak)[0])


def test_limits(offpeak, tmp_path):
    """More comments than a section takes: the best stay, the highest first."""
    people = {p: p % 3 for p in range(30)}
    votes, number = [], 0
    for c in range(140):
        for p in range(30 - c % 7):
            number = (number * 1103515245 + 12345) % (1 << 31)
            votes.append((c, p, (number >> 16) % 3 - 1))
    folder = export(tmp_path / "many", votes, people)
    write(folder, "assignments.csv", ["comment_id"] + [f"layer{n}_cluster_id" for n in range(4)],
          [[c, 0, 0, 0, 0] for c in range(140)])
    write(folder, "topics.csv", ["topic_key", "layer_id", "cluster_id", "topic_name"],
          [[f"k{n}", n, 0, f"Layer {n}"] for n in range(4)])
    run(offpeak, folder)
    expected = check_run(offpeak, folder)
    assert {s.key: len(s.ids) for s in expected if s.key != "global_groups"} == {
        "global_uncertainty": 50, "k0": 100, "k1": 75, "k2": 50, "k3": 50}


@pytest.mark.parametrize("count, shown", [(2000, 50), (2001, 45), (5001, 37), (10001, 25)])
def test_large_conversations_have_smaller_sections(offpeak, tmp_path, count, shown):
    people = {0: 0, 1: 1}
    votes = [(c, p, 0) for c in range(60) for p in people]
    texts = {c: f"Statement {c}" for c in range(count + 5)}
    moderated = {c: -1 for c in range(count, count + 5)}  # are not counted
    folder = export(tmp_path / "large", votes, people, texts, moderated)
    run(offpeak, folder)
    (section,) = check_run(offpeak, folder)
    assert len(section.ids) == shown


@pytest.mark.parametrize("groups, agrees, counts_as", [(2, 9, False), (2, 10, True), (3, 8, False),
                                                       (3, 9, True), (4, 8, False), (4, 9, True),
                                                       (5, 8, False), (5, 9, True)])
def test_consensus_needs_less_with_more_groups(offpeak, tmp_path, groups, agrees, counts_as):
    people = {p: p // 10 for p in range(10 * groups)}
    votes = [(0, p, 1 if p % 10 < agrees else -1) for p in people]
    folder = export(tmp_path / "groups", votes, people)
    run(offpeak, folder)
    assert len(requests(offpeak)) == len(polis_oracle.sections(folder)) == counts_as


def test_extremity_option(offpeak, tmp_path):
    people = {p: p % 2 for p in range(20)}
    votes = [(0, p, 1 if p % 2 == 0 or p < 12 else -1) for p in people]  # 10/10 against 6/10
    folder = export(tmp_path / "line", votes, people)
    run(offpeak, folder, "--extremity", "0.45")
    assert batches(offpeak) == []
    run(offpeak, folder, "--extremity", "0.35")
    assert list(rows(offpeak)) == ["global_groups"]


# ---- options and running again ----


@pytest.mark.parametrize("option", ["--max-batch-size", "--max_batch_size"])
def test_max_batch_size_makes_more_batches(offpeak, option):
    run(offpeak, SAMPLE, option, "5")
    assert [len(batch) for batch in batches(offpeak)] == [5, 5, 2]
    check_run(offpeak, SAMPLE)


def test_default_batch_has_twenty(offpeak, tmp_path):
    folder = copy_sample(tmp_path)
    topics = [[f"t{n}", 0, n, f"Topic number {n}"] for n in range(30)]
    write(folder, "topics.csv", ["topic_key", "layer_id", "cluster_id", "topic_name"], topics)
    write(folder, "assignments.csv", ["comment_id", "layer0_cluster_id"],
          [[n, n] for n in range(30)])
    run(offpeak, folder)
    assert [len(batch) for batch in batches(offpeak)] == [20, 13]
    check_run(offpeak, folder)


def test_report_id_and_zid(offpeak):
    done = offpeak.run("run", "narrative-reports", "--zid", "31415", "--dir", SAMPLE, "--emulate",
                       expect=0)
    assert done.returncode == 0
    check_run(offpeak, SAMPLE, "r31415")
    run(offpeak, SAMPLE, "--report_id", "r2abcdefghijklmnopqrs", "--out", "other.sqlite")
    assert {r["report_id"] for r in rows(offpeak, "other.sqlite").values()} == \
        {"r2abcdefghijklmnopqrs"}


def test_stored_reports_are_not_bought_again(offpeak):
    run(offpeak, SAMPLE)
    before = rows(offpeak)
    run(offpeak, SAMPLE)
    assert len(requests(offpeak)) == 12
    assert {k: tuple(r) for k, r in rows(offpeak).items()} == \
        {k: tuple(r) for k, r in before.items()}


def test_only_what_is_missing_is_asked(offpeak, tmp_path):
    run(offpeak, SAMPLE)
    db = sqlite3.connect(offpeak.cwd / "narratives.sqlite")
    db.execute("DELETE FROM Delphi_NarrativeReports WHERE section = 'layer0_3'")
    db.commit()
    db.close()
    other = Offpeak(tmp_path / "elsewhere")  # a ledger that has no answers yet
    shutil.copy(offpeak.cwd / "narratives.sqlite", other.cwd)
    run(other, SAMPLE)
    (sent,) = requests(other)
    assert "0_3: Evenings, noise and light" in user(sent)
    assert len(rows(other)) == 12


def test_no_cache_writes_all_anew(offpeak, tmp_path):
    run(offpeak, SAMPLE)
    other = Offpeak(tmp_path / "elsewhere")
    shutil.copy(offpeak.cwd / "narratives.sqlite", other.cwd)
    run(other, SAMPLE, "--no-cache")
    assert len(requests(other)) == 12 and len(rows(other)) == 12
    assert {r["timestamp"] for r in rows(other).values()}.isdisjoint(
        r["timestamp"] for r in rows(offpeak).values())


def test_new_votes_change_only_what_they_touch(offpeak, tmp_path):
    folder = copy_sample(tmp_path)
    before = {s.key: s.xml() for s in polis_oracle.sections(folder)}
    run(offpeak, folder)
    with open(folder / "votes.csv", "a", encoding="utf-8") as votes:
        votes.write("1772999999000,Sun Mar 08 19:59:59 UTC 2026,38,0,-1\n")
    after = {s.key: s.xml() for s in polis_oracle.sections(folder)}
    touched = [key for key in after if after[key] != before.get(key)]
    assert 0 < len(touched) < 6
    run(offpeak, folder, "--no-cache")
    assert [xml(p) for p in requests(offpeak)[12:]] == [after[key] for key in touched]
    assert len(rows(offpeak)) == 12


# ---- answers ----


def report(*citations):
    return {"id": "r", "title": "T", "paragraphs": [{"id": "p", "title": "P", "sentences": [
        {"clauses": [{"text": "Some agree.", "citations": list(citations)}]}]}]}


def scripted(tmp_path, *rules):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    return ["--emulate-answers", path]


def one_section(tmp_path):
    people = {p: p % 2 for p in range(10)}
    return export(tmp_path / "one", [(c, p, 1) for c in range(2) for p in people], people)


def test_citation_of_comment_0_is_good(offpeak, tmp_path):
    run(offpeak, one_section(tmp_path), *scripted(tmp_path, {"json": report(0, 1)}))
    (row,) = rows(offpeak).values()
    assert json.loads(row["report_data"]) == report(0, 1)
    assert len(requests(offpeak)) == 1


def test_foreign_citation_is_asked_again_with_the_reason(offpeak, tmp_path):
    run(offpeak, one_section(tmp_path),
        *scripted(tmp_path, {"json": report(1, 77), "times": 1}, {"json": report(1)}))
    first, second = requests(offpeak)
    text = json.dumps(second["messages"])
    assert "citation 77" in text and "citation 1 " not in text
    (row,) = rows(offpeak).values()
    assert json.loads(row["report_data"]) == report(1)


def test_report_without_paragraphs_is_none(offpeak, tmp_path):
    empty = {"id": "r", "title": "T", "paragraphs": []}
    run(offpeak, one_section(tmp_path),
        *scripted(tmp_path, {"json": empty, "times": 1}, {"json": report(0)}))
    assert "no paragraphs" in json.dumps(requests(offpeak)[1]["messages"])
    assert json.loads(rows(offpeak)["global_group_informed_consensus"]["report_data"]) == report(0)


def test_demo_answers_fit_the_sample(offpeak):
    """Those of `make demo`: one is wrong at first, the second time it is right."""
    rules = [json.loads(line) for line in (SAMPLE / "answers.jsonl").read_text(encoding="utf-8")
             .splitlines() if not line.startswith("#")]
    run(offpeak, SAMPLE, "--emulate-answers", SAMPLE / "answers.jsonl")
    assert len(requests(offpeak)) == 13
    stored = [json.loads(row["report_data"]) for row in rows(offpeak).values()]
    written = [rule["json"] for rule in rules if "times" not in rule]
    assert sorted(stored, key=json.dumps) == sorted(written, key=json.dumps)
    for section in polis_oracle.sections(SAMPLE):
        check_report(rows(offpeak)[section.key]["report_data"], section.ids)


def test_demo(tmp_path):
    program = tmp_path / "build" / "offpeak"
    (tmp_path / "build").mkdir()
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    (tmp_path / "prices.yaml").symlink_to(ROOT / "prices.yaml")
    shutil.copy(OFFPEAK, program)
    done = subprocess.run([str(ROOT / "tools" / "demo"), "build/offpeak"], cwd=tmp_path, text=True,
                          capture_output=True, timeout=60, env=environment())
    assert done.returncode == 0, done.stderr
    assert "Whose square is it" in done.stdout and "build/demo/narratives.sqlite" in done.stdout
    db = sqlite3.connect(tmp_path / "build" / "demo" / "narratives.sqlite")
    assert db.execute("SELECT count(*) FROM Delphi_NarrativeReports").fetchone() == (12,)
    db.close()


def test_wrong_twice_is_no_report(offpeak, tmp_path):
    done = run(offpeak, one_section(tmp_path), *scripted(tmp_path, {"json": report(99)}), expect=None)
    assert done.returncode != 0
    assert not (offpeak.cwd / "narratives.sqlite").exists() or not rows(offpeak)


# ---- exports that are none ----


def no_column(name):
    def spoil(folder, file):
        table = polis_oracle.table(folder, file)
        header = [h for h in table[0] if h != name]
        write(folder, file, header, [[r[h] for h in header] for r in table])
    return spoil


def no_rows(folder, file):
    header = (folder / file).read_text(encoding="utf-8").split("\n")[0]
    (folder / file).write_text(header + "\n", encoding="utf-8")


def missing(folder, file):
    (folder / file).unlink()


BAD = {
    "no comments": ("comments.csv", no_rows, "has no comments"),
    "no votes": ("votes.csv", no_rows, "has no votes"),
    "no comment ids": ("comments.csv", no_column("comment-id"), "comment-id"),
    "no moderation": ("comments.csv", no_column("moderated"), "moderated"),
    "no voters": ("votes.csv", no_column("voter-id"), "voter-id"),
    "no groups": ("participants-votes.csv", no_column("group-id"), "group-id"),
    "no layer": ("topics.csv", no_column("layer_id"), "layer_id"),
    "no votes file": ("votes.csv", missing, "votes.csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_export_is_refused(offpeak, tmp_path, name):
    file, spoil, words = BAD[name]
    folder = copy_sample(tmp_path)
    spoil(folder, file)
    done = run(offpeak, folder, expect=None)
    assert done.returncode not in (0, 3), done.stderr
    assert file in done.stderr and words in done.stderr
    assert batches(offpeak) == [] and not (offpeak.cwd / "narratives.sqlite").exists()


def test_bad_sample_comments_are_refused(offpeak, tmp_path):
    folder = copy_sample(tmp_path)
    write(folder, "topics.csv", ["topic_key", "layer_id", "cluster_id", "topic_name",
                                 "sample_comments"], [["k", 0, 0, "Name", "not a list"]])
    done = run(offpeak, folder, expect=None)
    assert done.returncode not in (0, 3) and "sample_comments" in done.stderr
