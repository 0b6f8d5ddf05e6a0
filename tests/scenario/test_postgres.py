"""The source and the sink `postgres`, against a real server.

Behaviour: docs/reference/inputs.md and outputs.md, "postgres"; docs/design/postgres.md.
Stimulus:  pipelines whose input or output is a table of that server, whose own settings are unusual ones
           (German dates, Indian time, escaped bytes); it is stopped and started under the program.
Oracle:    for inputs the prompts that the emulator was sent, against values written out in the test; for
           outputs what psql reads back, against rows worked out in the test.
"""
import json
import sys
import threading
import time

import pytest

sys.path.insert(0, str(__import__("pathlib").Path(__file__).resolve().parents[1] / "support"))
from harness import Emulator, Offpeak, clock  # noqa: E402
from postgres import PASSWORD  # noqa: E402

SPEED = 20000
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
          "additionalProperties": False}
HEAD = """pipeline: p
params:
  word: {default: "w"}
  zid: {type: integer, default: 7}
  none: {}
"""
ASK = ("requests:\n  ask: {model: claude-haiku-4-5, max_tokens: 100, user: '{{{prompt}}}', "
       "answer: a.json}\n")
CSV = "outputs:\n  - csv: out.csv\n    key: [id]\n    rows: SELECT key AS id FROM answers\n"


class World:
    def __init__(self, folder, server):
        self.server, self.dir = server, folder
        self.database = server.create()
        self.emulator = Emulator(folder, speed=SPEED)
        self.emulator.__enter__()
        self.program = Offpeak(folder, self.emulator, OFFPEAK_CLOCK=clock(SPEED),
                               DATABASE_URL=server.uri(self.database))
        self.pipeline = folder / "p"
        self.pipeline.mkdir()
        (self.pipeline / "a.json").write_text(json.dumps(SCHEMA))

    def sql(self, sql):
        return self.server.sql(self.database, sql)

    def rows(self, sql):
        return self.server.rows(self.database, sql)

    def write(self, yaml):
        (self.pipeline / "pipeline.yaml").write_text(HEAD + yaml)

    def run(self, *args, expect=0, **env):
        return self.program.run("run", self.pipeline, *args, expect=expect, **env)

    def read(self, options, prompt="json_array(*)", expect=0, args=(), **env):
        """Reads one input `t`; the prompts of its rows as JSON."""
        self.write(f"inputs:\n  t: {{postgres: env:DATABASE_URL, {options}}}\n"
                   f"records: SELECT rowid AS key, {prompt} AS prompt FROM t\n{ASK}{CSV}")
        done = self.run(*args, expect=expect, **env)
        return done if expect else sorted(self.prompts())

    def prompts(self):
        sent = []
        for file in (self.dir / "emulator" / "batches").glob("*.requests"):
            sent += [json.loads(line)["params"]["messages"][0]["content"]
                     for line in file.read_bytes().splitlines()]
        return [json.loads(text) for text in sent]

    def refused(self, options, *words, args=(), **env):
        said = self.read(options, "0", 1, args, **env).stderr
        assert all(word in said for word in words), said
        assert PASSWORD not in said
        return said


@pytest.fixture
def world(tmp_path, postgres):
    one = World(tmp_path, postgres)
    yield one
    one.emulator.__exit__()


# --- inputs -------------------------------------------------------------------------------------

def typed(*columns):
    parts = (f"typeof({c}), CASE typeof({c}) WHEN 'blob' THEN hex({c}) ELSE {c} END" for c in columns)
    return f"json_array({', '.join(parts)})"


TYPES = [
    ("smallint", "-3", "integer", -3), ("integer", "2147483647", "integer", 2147483647),
    ("bigint", "-9223372036854775808", "integer", -9223372036854775808),
    ("real", "0.5", "real", 0.5), ("double precision", "0.1", "real", 0.1),
    ("double precision", "'NaN'", "text", "NaN"), ("numeric", "12", "integer", 12),
    ("numeric(40,20)", "12345678901234567890.00000000000000000001", "text",
     "12345678901234567890.00000000000000000001"),
    ("numeric", "99999999999999999999", "text", "99999999999999999999"),
    ("boolean", "true", "integer", 1), ("boolean", "false", "integer", 0),
    ("text", "'z\u00fcrich \U0001f600 ''q'' \\n'", "text", "z\u00fcrich \U0001f600 'q' \\n"),
    ("varchar(5)", "''", "text", ""), ("char(3)", "'a'", "text", "a  "),
    ("bytea", "'\\x00ff10'", "blob", "00FF10"), ("bytea", "''", "blob", ""),
    ("json", "'{\"b\":  1}'", "text", '{"b":  1}'), ("jsonb", "'{\"b\":  1}'", "text", '{"b": 1}'),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "text",
     "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("timestamptz", "'2024-01-02 03:04:05.678+02'", "text", "2024-01-02T01:04:05.678Z"),
    ("timestamp", "'2024-01-02 03:04:05'", "text", "2024-01-02T03:04:05"),
    ("timestamptz", "'infinity'", "text", "infinity"), ("date", "'2024-01-02'", "text", "2024-01-02"),
    ("interval", "'1 day 2 hours'", "text", "1 day 02:00:00"), ("int[]", "'{1,NULL,3}'", "text",
                                                                "{1,NULL,3}"),
    ("text", "NULL", "null", None), ("integer", "NULL", "null", None),
]


def test_types(world):
    names = [f"c{i}" for i in range(len(TYPES))]
    world.sql("CREATE TABLE t (" + ", ".join(f"{n} {t[0]}" for n, t in zip(names, TYPES)) + ")")
    world.sql("INSERT INTO t VALUES (" + ", ".join(t[1] for t in TYPES) + ")")
    (row,) = world.read("table: t", typed(*names))
    assert list(zip(row[::2], row[1::2])) == [(t[2], t[3]) for t in TYPES]


def test_params_are_bound(world):
    """Values that would be SQL if they were spliced; names in quotes and comments are no names."""
    evil = "w'; DROP TABLE t; --"
    world.sql("CREATE TABLE t (zid int, word text, a int[]); "
              f"INSERT INTO t VALUES (7, $q${evil}$q$, '{{1,2,3}}'), (8, 'w', NULL)")
    query = ("SELECT zid, word, a[1:2]::text AS a, ':zid' AS q, $t$:zid$t$ AS d, E'\\':zid' AS e, "
             ":none::text AS n /* :no /* :no */ */ FROM t WHERE zid = :zid AND word = :word -- :no")
    got = world.read("query: " + json.dumps(query), "json_array(zid, word, a, q, d, e, n)",
                     args=["--word", evil])
    assert got == [[7, evil, "{1,2}", ":zid", ":zid", "':zid", None]]
    assert world.rows("SELECT count(*) FROM t") == [(2,)]


def test_more_than_one_chunk_and_once_in_order(world):
    rows = 3000
    world.sql(f"CREATE TABLE t AS SELECT i AS id, repeat('x', i % 7) AS x FROM generate_series(1, {rows}) i")
    got = world.read("query: 'SELECT * FROM t ORDER BY id DESC'", "json_array(count(*), sum(id), sum(length(x)), "
                     "(SELECT id FROM t WHERE rowid = 1))")
    assert got == [[rows, rows * (rows + 1) // 2, sum(i % 7 for i in range(1, rows + 1)), rows]]


@pytest.mark.parametrize("query", [
    "DELETE FROM t RETURNING id", "SELECT 1; DELETE FROM t", "COMMIT; DELETE FROM t",
    "WITH d AS (DELETE FROM t RETURNING id) SELECT * FROM d", "SELECT id INTO u FROM t",
    "SELECT nextval('s')", "SELECT id FROM t FOR UPDATE", "COPY t TO PROGRAM 'true'",
    "SELECT 1 UNION SELECT writes()", "SELECT set_config('transaction_read_only', 'off', true)",
])
def test_queries_only_read(world, query):
    world.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE SEQUENCE s; "
              "CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1'")
    world.refused("query: " + json.dumps(query), "pipeline.yaml:7: input 't'", "SQLSTATE")
    assert world.rows("SELECT count(*), (SELECT is_called FROM s) FROM t") == [(1, False)]


def test_mistakes_are_named(world):
    world.sql('CREATE TABLE votes (id int); CREATE SCHEMA "other"; CREATE TABLE other.polls (id int)')
    world.refused("table: vote", "no table 'vote' in the schema 'public'", "votes")
    world.refused("table: polls", "other.polls")
    world.refused("query: SELECT nope FROM votes", 'column "nope" does not exist', "42703")
    world.refused("query: 'SELECT :zidd FROM votes'", ":zidd", "did you mean ':zid'?")
    world.refused("query: 'SELECT id FROM votes WHERE id = :word'", "invalid input syntax", "22P02")
    world.refused("query: 'SELECT 1 AS a, 2 AS a'", "columns 1 and 2 are both called 'a'")
    world.refused("query: 'SELECT pg_sleep(20)', timeout: 1", "statement timeout", "57014")
    world.refused("schema: other", "'table' or 'query'")
    assert world.read("table: polls, schema: other", "0") == []


def test_a_missing_table_may_be_empty(world):
    world.write("inputs:\n  t: {postgres: env:DATABASE_URL, table: later, optional: true, columns: [id, x]}\n"
                f"records: SELECT 'k' AS key, json_array(count(id), max(x)) AS prompt FROM t\n{ASK}{CSV}")
    world.run()
    assert world.prompts() == [[0, None]]


def test_doors_that_stay_shut(world):
    world.sql("CREATE TABLE t (id int); DO 'BEGIN CREATE ROLE nobody2 LOGIN; EXCEPTION WHEN duplicate_object "
              "THEN NULL; END'")
    uri = world.server.uri
    world.refused("table: t", "28P01", DATABASE_URL=uri(world.database, password="wrong-" + PASSWORD[:3]))
    world.refused("table: t", "3D000", DATABASE_URL=uri("nowhere"))
    world.refused("table: t", "DATABASE_URL is not set", DATABASE_URL="")
    world.refused("table: t", "holds no postgresql:// URI", DATABASE_URL="sk-ant-" + PASSWORD)
    socket = f"postgresql:///{world.database}?host={world.server.dir}&port={world.server.port}&user=nobody2"
    world.refused("table: t", "42501", DATABASE_URL=socket)
    said = world.read("table: t", "0", expect=1,
                      DATABASE_URL=f"postgresql://x:{PASSWORD}@127.0.0.1:1/d").stderr
    assert "127.0.0.1" in said and PASSWORD not in said


def test_the_environment_and_a_socket(world):
    world.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (5)")
    world.write(f"inputs:\n  t: {{postgres: 'postgresql://', table: t}}\n"
                f"records: SELECT id AS key, json_array(id) AS prompt FROM t\n{ASK}{CSV}")
    world.run(PGHOST=world.server.dir, PGPORT=world.server.port, PGUSER="offpeak",
              PGDATABASE=world.database)
    assert world.prompts() == [[5]]


# --- outputs ------------------------------------------------------------------------------------

def items(world, count):
    (world.program.cwd / "items.csv").write_text(
        "id,word\n" + "".join(f"{i},w{i}\n" for i in range(count)))


def output(world, rows, options="", count=5, table="out", inputs=""):
    items(world, count)
    world.write("inputs:\n  items: {csv: items.csv}\n" + inputs +
                "records: SELECT id AS key, id AS prompt FROM items\n" + ASK +
                f"outputs:\n  - postgres: env:DATABASE_URL\n    table: {table}\n    key: [id]\n"
                f"{options}    rows: {json.dumps(rows)}\n")


def test_a_table_is_made_and_rows_replaced(world):
    output(world, "SELECT key + 0 AS id, 1.5 AS d, 'a\tb\\\n' || key AS t, x'00ff' AS b, NULL AS n "
           "FROM answers")
    world.run()
    want = [(i, 1.5, f"a\tb\\\n{i}", "\\x00ff", None) for i in range(5)]
    read = "SELECT id, d, t, '\\x' || encode(b, 'hex') AS b, n FROM out ORDER BY id"
    assert world.rows(read) == want
    assert world.rows("SELECT string_agg(format_type(atttypid, NULL), ',' ORDER BY attnum) FROM pg_attribute "
                      "WHERE attrelid = 'out'::regclass AND attnum > 0") == \
        [("bigint,double precision,text,bytea,text",)]
    world.sql("UPDATE out SET t = 'mine' WHERE id = 2; DELETE FROM out WHERE id = 3; "
              "INSERT INTO out VALUES (99)")
    world.run("--zid", "8")  # another job with the same rows
    assert world.rows(read) == want + [(99, None, None, None, None)]


def test_types_come_from_the_table(world):
    world.sql("CREATE TABLE out (id uuid PRIMARY KEY, flag boolean, doc jsonb, at timestamptz, tags text[], "
              "n numeric(10,2), small smallint, other text DEFAULT 'kept')")
    output(world, "SELECT printf('%08d-0000-0000-0000-000000000000', key) AS id, key % 2 AS flag, "
           "json_object('k', key) AS doc, '2024-01-02T03:04:05Z' AS at, '{a,b}' AS tags, 1.25 AS n, "
           "key + 0 AS small FROM answers", count=2)
    world.run()
    assert world.rows("SELECT id, flag, doc ->> 'k' AS doc, at AT TIME ZONE 'UTC' AS at, tags, n, small, "
                      "other FROM out ORDER BY id") == [
        (f"{i:08d}-0000-0000-0000-000000000000", i == 1, str(i), "2024-01-02T03:04:05", ["a", "b"], 1.25,
         i, "kept") for i in range(2)]


def test_the_last_of_a_key_counts_and_insert_missing_keeps(world):
    rows = "SELECT key % 2 AS id, max(key + 0) AS v FROM answers GROUP BY key ORDER BY key"
    world.sql("CREATE TABLE out (id int PRIMARY KEY, v int); INSERT INTO out VALUES (1, -1)")
    output(world, rows)
    world.run()
    assert world.rows("SELECT * FROM out ORDER BY id") == [(0, 4), (1, 3)]
    world.sql("UPDATE out SET v = -1 WHERE id = 1; DELETE FROM out WHERE id = 0")
    output(world, rows, "    mode: insert_missing\n")
    world.run()
    assert world.rows("SELECT * FROM out ORDER BY id") == [(0, 0), (1, -1)]


def test_a_refused_row_is_named(world):
    """By COPY (a value of the wrong type), by the INSERT (a constraint), among many good ones."""
    world.sql("CREATE TABLE out (id int PRIMARY KEY, v int CONSTRAINT small CHECK (v < 37))")
    output(world, "SELECT key + 0 AS id, key + 0 AS v FROM answers", count=60)
    said = world.run(expect=1).stderr
    assert "table 'out' refuses the row with id = 37 by the constraint 'small'" in said, said
    assert world.rows("SELECT count(*) FROM out") == [(0,)]
    world.sql("ALTER TABLE out DROP CONSTRAINT small")
    world.program.run("recover", expect=0)
    assert world.rows("SELECT count(*), sum(v) FROM out") == [(60, sum(range(60)))]
    output(world, "SELECT key + 0 AS id, iif(key = '41', 'many', key) AS v FROM answers", count=60)
    said = world.run(expect=1).stderr
    assert "refuses the row with id = 41" in said and "22P02" in said, said


@pytest.mark.parametrize("table,words", [
    ("id int PRIMARY KEY", ["lacks columns", ": v;"]),
    ("id int, v text", ["no unique index", 'CREATE UNIQUE INDEX ON "public"."out" ("id")']),
])
def test_tables_that_do_not_fit(world, table, words):
    world.sql(f"CREATE TABLE out ({table})")
    output(world, "SELECT key + 0 AS id, key AS v FROM answers")
    said = world.run(expect=1).stderr
    assert all(word in said for word in words), said


def test_text_that_cannot_be_stored_is_left_out(world):
    output(world, "SELECT key + 0 AS id, iif(key = '2', 'a' || char(0) || 'b', key) AS v FROM answers")
    done = world.run(expect=None)
    assert "NUL" in done.stderr, done.stderr
    assert [i for (i,) in world.rows("SELECT id FROM out ORDER BY id")] == [0, 1, 3, 4]


@pytest.mark.parametrize("options,words", [
    ("    table: 'x\"; DROP TABLE y'\n", "no name for a table"), ("    mode: replace\n", "mode"),
    ("    table: t\n    schema: 'a b'\n", "no name for a schema"),
    ("    table: t\n    types: ['nope int']\n", "nope"),
])
def test_options_are_checked(world, options, words):
    items(world, 1)
    table = "" if "table" in options else "    table: t\n"
    world.write("inputs:\n  items: {csv: items.csv}\nrecords: SELECT id AS key, id AS prompt FROM items\n" + ASK +
                f"outputs:\n  - postgres: 'postgresql://'\n    key: [id]\n{table}{options}"
                "    rows: SELECT key AS id FROM answers\n")
    assert words in world.run(expect=1).stderr


# --- what goes wrong on the way ------------------------------------------------------------------

def test_killed_between_delivery_and_ledger(world):
    """Rows are in the table, the ledger does not know: they are written again, under the same keys."""
    world.sql("CREATE TABLE out (id int PRIMARY KEY, v int); CREATE TABLE log (id int); CREATE FUNCTION log() "
              "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (NEW.id); RETURN NEW; END'; "
              "CREATE TRIGGER log BEFORE INSERT ON out FOR EACH ROW EXECUTE FUNCTION log()")
    output(world, "SELECT key + 0 AS id, key * 2 AS v FROM answers")
    world.run(expect=-9, OFFPEAK_FAULT="deliver.between:1")
    assert world.rows("SELECT * FROM out ORDER BY id") == [(i, 2 * i) for i in range(5)]
    world.program.run("recover", expect=0)
    assert world.rows("SELECT * FROM out ORDER BY id") == [(i, 2 * i) for i in range(5)]
    assert world.rows("SELECT count(*) FROM log") == [(10,)]  # it was delivered twice


def test_the_server_stops_and_comes_back(world):
    """In the middle of a delivery: a trigger holds it up until the server has been stopped."""
    world.sql("CREATE TABLE gate (open bool); CREATE TABLE out (id int PRIMARY KEY, v int); CREATE FUNCTION wait() "
              "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NOT EXISTS (SELECT FROM gate) THEN "
              "PERFORM pg_sleep(60); END IF; RETURN NEW; END'; "
              "CREATE TRIGGER wait BEFORE INSERT ON out FOR EACH ROW EXECUTE FUNCTION wait()")
    world.sql("CHECKPOINT")  # this server commits without waiting for its log, and is stopped hard below
    output(world, "SELECT key + 0 AS id, key * 2 AS v FROM answers")
    done = []
    thread = threading.Thread(target=lambda: done.append(world.run(expect=None)))
    thread.start()
    while not world.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
        assert thread.is_alive(), done
        time.sleep(0.02)
    world.server.stop()
    world.server.start()
    world.sql("INSERT INTO gate VALUES (true)")
    thread.join(120)
    if done[0].returncode:  # the clock of the test runs fast, so the patience may have been short
        world.program.run("recover", expect=0)
    assert world.rows("SELECT * FROM out ORDER BY id") == [(i, 2 * i) for i in range(5)]
    assert PASSWORD not in done[0].stderr


def test_no_password_is_kept(world):
    output(world, "SELECT key + 0 AS id FROM answers")
    world.run()
    for file in world.program.state.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file
