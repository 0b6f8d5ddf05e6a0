# SPDX-License-Identifier: MIT
"""story-knowledge: story groups to topics and entities in SQL.

Behaviour: docs/guide/story-knowledge.md.
Stimulus:  the sample database that `init` makes, and small ones made here; answers of the emulator are scripted
           where their content matters.
Oracle:    rows of SQLite or PostgreSQL against values written out here; the emulator's bill.
"""
import json
import pathlib
import sqlite3
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import MODELS, ROOT, Emulator, Offpeak, clock  # noqa: E402

FOLDER = ROOT / "pipelines" / "story-knowledge"
SPEED = 20000
GROUP = "00000000-0000-4000-8000-%012d"
TABLES = """
CREATE TABLE story_groups(id {id} PRIMARY KEY, status text, created_at {time});
CREATE TABLE story_group_members(group_id {id}, news_url_id text, added_at {time});
CREATE TABLE context_summaries(news_url_id text PRIMARY KEY, summary_text text);
CREATE TABLE players(player_id text PRIMARY KEY, display_name text, first_name text, last_name text, short_name text,
  football_name text, position text, latest_team text);
CREATE TABLE teams(team_abbr text PRIMARY KEY, team_name text, team_nick text);
CREATE TABLE games(game_id text PRIMARY KEY, season int, week int, away_team text, home_team text);
"""
TEAMS = [("LAR", "Los Angeles Rams", "Rams"), ("LAC", "Los Angeles Chargers", "Chargers"), ("GB", "Green Bay Packers", "Packers"),
         ("NYG", "New York Giants", "Giants"), ("NYJ", "New York Jets", "Jets"), ("KC", "Kansas City Chiefs", "Chiefs"),
         ("BUF", "Buffalo Bills", "Bills"), ("WAS", "Washington Commanders", "Commanders"), ("NO", "New Orleans Saints", "Saints"),
         ("JAX", "Jacksonville Jaguars", "Jaguars"), ("DET", "Detroit Lions", "Lions")]
PLAYERS = [("p1", "Josh", "Allen", "QB", "BUF"), ("p2", "Josh", "Allen", "LB", "JAX"), ("p3", "Kyle", "Allen", "QB", "DET"),
           ("p4", "D'Andre", "Swift", "RB", "DET"), ("p5", "Ja'Marr", "Chase", "WR", "KC"),
           ("p6", "Amon-Ra", "St. Brown", "WR", "DET"), ("p7", "A.J.", "Brown", "WR", "NYJ"),
           ("p8", "Odell", "Beckham Jr.", "WR", "NYG"), ("p9", "Patrick", "Mahomes II", "QB", "KC"),
           ("p10", "Jaxon", "Smith-Njigba", "WR", "LA"), ("p11", "Cooper", "Kupp", "WR", "LAR"),
           ("p12", "Jos\u00e9", "N\u00fa\u00f1ez", "K", "GB"), ("p13", "Marvin", "Harrison Sr.", "WR", "NO"),
           ("p14", "Marvin", "Harrison Jr.", "WR", "NO")]
GAMES = [("2024_11_KC_BUF", 2024, 11, "KC", "BUF"), ("2025_09_KC_BUF", 2025, 9, "KC", "BUF"),
         ("2025_04_GB_LA", 2025, 4, "GB", "LA"), ("2025_05_NYG_NYJ", 2025, 5, "NYG", "NYJ")]


def quote(value):
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def insert(table, rows):
    return f"INSERT INTO {table} VALUES " + ", ".join("(" + ", ".join(map(quote, r)) + ")" for r in rows) + ";\n"


def statements(groups, kind):
    """groups: texts, one or more of each group; the first group is the newest."""
    types = {"id": "uuid", "time": "timestamptz"} if kind == "postgres" else {"id": "text", "time": "text"}
    players = [(i, f"{a} {b}", a, b, f"{a[0]}.{b}", a, p, t) for i, a, b, p, t in PLAYERS]
    ids = [GROUP % i for i in range(len(groups))]
    members = [(ids[i], f"u{i}-{k}", f"2025-11-01T00:00:{k:02d}Z") for i, texts in enumerate(groups)
               for k in range(len(texts))]
    texts = [(f"u{i}-{k}", text) for i, texts in enumerate(groups) for k, text in enumerate(texts)]
    stamps = [f"2025-10-{30 - i % 28:02d}T{23 - i // 28 % 24:02d}:00:00Z" for i in range(len(groups))]
    written = (FOLDER / "schema.sql").read_text()
    if kind != "postgres":
        written = written.replace("DEFAULT gen_random_uuid()", "DEFAULT (hex(randomblob(16)))").replace("now()", "''")
    return (TABLES.format(**types) + insert("story_groups", [(i, "active", s) for i, s in zip(ids, stamps)]) + written +
            insert("story_group_members", members) + insert("context_summaries", texts) + insert("players", players) +
            insert("teams", TEAMS) + insert("games", GAMES))


class World:
    """The pipeline over an SQLite database, with an emulator and scripted answers."""

    def __init__(self, folder, groups, answers=(), faults=None):
        folder.mkdir(exist_ok=True)
        self.emulator = Emulator(folder, speed=SPEED, faults=faults, answers=list(answers) or None)
        self.emulator.__enter__()
        self.program = Offpeak(folder, self.emulator, OFFPEAK_CLOCK=clock(SPEED))
        self.file = self.program.cwd / "stories.sqlite"
        db = sqlite3.connect(self.file)
        db.executescript(statements(groups, "sqlite"))
        db.close()

    def run(self, *args, expect=0, **env):
        return self.program.run("run", "story-knowledge", *args, expect=expect, **env)

    def sql(self, text):
        db = sqlite3.connect(self.file)
        try:
            found = db.execute(text).fetchall()
            db.commit()
            return found
        finally:
            db.close()

    def status(self):
        return dict(self.sql("SELECT story_group_id, status FROM story_group_extraction_status"))


@pytest.fixture
def world(tmp_path):
    made = []

    def make(groups, answers=(), faults=None):
        made.append(World(tmp_path / f"w{len(made)}", groups, answers, faults))
        return made[-1]

    yield make
    for one in made:
        one.emulator.__exit__()


def topics(text, *found, **more):
    return {"match": f"topics of this story.\n\n{text}", "json": {"topics": [
        {"topic": t, "confidence": c, "rank": r} for t, c, r in found]}, **more}


def entity(kind, mention, position=None, abbr=None, name=None, season=None, week=None, confidence=0.9, primary=False, rank=1):
    return {"entity_type": kind, "mention_text": mention, "position": position, "team_abbr": abbr, "team_name": name,
            "season": season, "week": week, "confidence": confidence, "is_primary": primary, "rank": rank, "context": "x"}


def entities(text, *found, **more):
    return {"match": f"games of this story.\n\n{text}", "json": {"entities": list(found)}, **more}


def test_the_sample_runs_as_it_is(tmp_path):
    """init, run, run again: all groups with text are completed, and nothing is asked twice."""
    program = Offpeak(tmp_path)
    program.run("init", "story-knowledge", expect=0)
    args = ("story-knowledge", "--db", "story-knowledge/stories.sqlite", "--emulate")
    program.run("run", *args, expect=0)
    db = sqlite3.connect(program.cwd / "story-knowledge" / "stories.sqlite")
    assert db.execute("SELECT status, count(*) FROM story_group_extraction_status GROUP BY 1").fetchall() == [("completed", 5)]
    assert db.execute("SELECT count(DISTINCT story_group_id) FROM story_topics").fetchone() == (5,)
    again = program.run("run", *args, expect=0)
    assert "1 active story groups have no text" in again.stderr
    assert db.execute("SELECT count(*) FROM story_group_extraction_status").fetchone() == (5,)
    assert "there already" in program.run("init", "story-knowledge", expect=1).stderr


# mention -> entity_id, or a word of the reason
RESOLVED = [
    (entity("player", "Josh Allen", "QB"), "p1"),
    (entity("player", "Josh Allen", None, "JAC"), "p2"),
    (entity("player", "Josh Allen", None, None, "Buffalo"), "p1"),
    (entity("player", "Allen", "QB"), "ambiguous"),
    (entity("player", "Allen's", "QB", "BUF"), "p1"),
    (entity("player", "J.Allen", "LB"), "p2"),
    (entity("player", "Josh Allen"), "no position or team"),
    (entity("player", "Josh Allen", "K"), "another one"),
    (entity("player", "DAndre Swift", "RB"), "p4"),
    (entity("player", "D\u2019Andre Swift", "RB"), "p4"),
    (entity("player", "JaMarr Chase", "WR"), "p5"),
    (entity("player", "Amon Ra St Brown", "WR"), "p6"),
    (entity("player", "AJ Brown", "WR"), "p7"),
    (entity("player", "A. J. Brown", "WR"), "p7"),
    (entity("player", "Odell Beckham", "WR"), "p8"),
    (entity("player", "Patrick Mahomes", "QB", "KC"), "p9"),
    (entity("player", "Jaxson Smith-Nijgba", "WR", "LAR"), "p10"),
    (entity("player", "Smith Njigba", "WR"), "p10"),
    (entity("player", "Cooper Cupp", "WR", "LA"), "p11"),
    (entity("player", "JOS\u00c9 N\u00da\u00d1EZ", "K"), "p12"),
    (entity("player", "Marvin Harrison", "WR"), "ambiguous"),
    (entity("player", "Marvin Harrison Jr", "WR"), "p14"),
    (entity("player", "Zebulon Quux", "QB"), "no such name"),
    (entity("team", "the Packers"), "GB"), (entity("team", "Green Bay"), "GB"), (entity("team", "LA"), "LAR"),
    (entity("team", "Rams"), "LAR"), (entity("team", "Los Angeles"), "ambiguous"),
    (entity("team", "New York", None, "NYJ"), "NYJ"), (entity("team", "New York"), "ambiguous"),
    (entity("team", "Kansas City Cheifs"), "KC"), (entity("team", "WSH"), "WAS"), (entity("team", "Jags"), "JAX"),
    (entity("team", "Manchester"), "no such name"),
    (entity("game", "Chiefs vs. Bills", season=2025, week=9), "2025_09_KC_BUF"),
    (entity("game", "Bills at Chiefs", season=2024), "2024_11_KC_BUF"),
    (entity("game", "KC @ BUF"), "ambiguous"),
    (entity("game", "Green Bay at LA"), "2025_04_GB_LA"), (entity("game", "Packers-Los Angeles Rams"), "2025_04_GB_LA"),
    (entity("game", "New York Giants against the New York Jets"), "2025_05_NYG_NYJ"),
    (entity("game", "the game was no good for Detroit"), "no such game"),
]


def test_who_is_meant(world):
    """Each mention alone in a group of its own, so that what it resolves to can be told."""
    groups = [[f"Story {i:03d}."] for i in range(len(RESOLVED))]
    one = world(groups, [entities(g[0], e) for g, (e, _) in zip(groups, RESOLVED)])
    one.run()
    found = dict(one.sql("SELECT story_group_id, entity_id FROM story_entities"))
    reasons = {row["story_group_id"]: row["reason"] for row in one.program.csv("unresolved.csv")}
    wrong = []
    for i, (asked, want) in enumerate(RESOLVED):
        got = found.get(GROUP % i) or reasons.get(GROUP % i, "")
        if got != want and not (GROUP % i not in found and want in got):
            wrong.append((asked["mention_text"], asked["position"], want, got))
    assert not wrong


def test_what_answers_may_hold(world):
    """Doubles, confidence in percent, upper case; the surest and the primary one count. Types outside of the list are
    asked again, and make the group partial when the second answer has them too."""
    bad = entity("coach", "Andy Reid")
    one = world([["Good."], ["Bad."], ["Mended."], [" "]], [
        topics("Good.", ("QB  Performance", 95, 1), ("qb performance", 0.5, 2), ("", 0.9, 3), ("injury report", 0.8, 2)),
        entities("Good.", entity("team", "Bills", confidence=95), entity("team", "BUF", primary=True, rank=2)),
        entities("Bad.", bad), entities("Mended.", bad, times=1), entities("Mended.", entity("team", "Lions"))])
    one.run(expect=3)
    assert one.sql("SELECT topic, confidence, rank FROM story_topics WHERE story_group_id LIKE '%0' ORDER BY rank") == [
        ("qb performance", 0.95, 1), ("injury report", 0.8, 2)]
    assert one.sql("SELECT story_group_id, entity_id, mention_text, is_primary FROM story_entities ORDER BY 1") == [
        (GROUP % 0, "BUF", "BUF", 1), (GROUP % 2, "DET", "Lions", 0)]
    assert one.status() == {GROUP % 0: "completed", GROUP % 1: "partial", GROUP % 2: "completed"}
    ((message, errors, counted),) = one.sql(
        "SELECT error_message, error_count, topics_extracted FROM story_group_extraction_status WHERE status = 'partial'")
    assert message.startswith("entity: ") and errors == 1 and counted >= 1


def test_which_groups_are_asked(world):
    """Active ones that are not completed, newest first; failed ones by choice and below the cap, processing ones never."""
    one = world([[f"Story {i}."] for i in range(7)])
    one.sql("UPDATE story_groups SET status = 'archived' WHERE id LIKE '%1'")
    for at, status, errors in ((2, "completed", 0), (3, "failed", 3), (4, "failed", 4), (5, "processing", 0)):
        one.sql(f"INSERT INTO story_group_extraction_status(story_group_id, status, error_count) "
                f"VALUES ('{GROUP % at}', '{status}', {errors})")
    before = one.status()

    def asked():
        return {g for g, s in one.status().items() if s == "completed" and before.get(g) != "completed"}

    one.run("--limit", "1")
    assert asked() == {GROUP % 0}
    one.run()
    assert asked() == {GROUP % 0, GROUP % 6}
    one.run("--failed", "true")
    assert asked() == {GROUP % 0, GROUP % 6, GROUP % 3}
    bought = sum(one.emulator.accepted().values())
    one.run()
    assert sum(one.emulator.accepted().values()) == bought == 6


def test_exported_ids(world):
    one = world([["Story."]])
    one.run()
    lines = [json.loads(line) for line in one.program.run("export", "job-1", expect=0).stdout.splitlines()]
    assert sorted(line["custom_id"] for line in lines) == [f"entity_{GROUP % 0}", f"topic_{GROUP % 0}"]
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/responses")}


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_other_providers_write_the_same(world, provider):
    answers = [topics("Story.", ("qb performance", 0.9, 1)), entities("Story.", entity("team", "Bills"))]
    one = world([["Story."]], answers)
    one.run("--provider", provider, "--model", MODELS[provider])
    assert one.sql("SELECT topic FROM story_topics") == [("qb performance",)]
    assert one.sql("SELECT entity_id FROM story_entities") == [("BUF",)]


@pytest.mark.parametrize("table", ["players", "story_groups"])
def test_a_missing_table_is_named(world, table):
    one = world([["Story."]])
    one.sql(f"DROP TABLE {table}")
    assert table in one.run(expect=1).stderr
    assert not one.emulator.bill()


def test_postgres_killed_at_every_turn(tmp_path, postgres):
    """Killed in planning, sending, applying and delivering; run twice more in the end: every group completed once."""
    groups = [[f"Story {i:05d} tells of the Bills."] for i in range(150)]
    database = postgres.create()
    postgres.script(database, statements(groups, "postgres"))
    with Emulator(tmp_path, speed=SPEED) as emulator:
        program = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(SPEED), DATABASE_URL=postgres.uri(database))
        command = ("run", "story-knowledge", "--profile", "postgres", "--most_requests", "80")
        for fault in ("pack.committed:2", "plan.commit:1", "apply.done:1", "deliver.between:2"):
            program.run(*command, expect=-9, OFFPEAK_FAULT=fault)
        program.run(*command, expect=0)
        want = [("completed", 150)]
        read = "SELECT status, count(*) AS n FROM story_group_extraction_status GROUP BY 1"
        assert postgres.rows(database, read) == want
        program.run(*command, expect=0)
        assert postgres.rows(database, read) == want
        counts = emulator.accepted()
        assert len(counts) == 300 and set(counts.values()) == {1}
    assert postgres.rows(database, "SELECT count(*) AS n FROM story_group_extraction_status AS s WHERE topics_extracted <> "
                         "(SELECT count(*) FROM story_topics AS t WHERE t.story_group_id = s.story_group_id)") == [(0,)]
