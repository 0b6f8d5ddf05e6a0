"""DynamoDB as a source and as a sink, against a server of the tests' own.

Oracle: the server computes every signature itself (support/dynamo.py) and holds the items as they
came over the wire; what a pipeline reads is what was put there by hand; faults must leave what there
is without them; messages name the table, the cause and what to do.
"""
import csv
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from dynamo import ENV, SECRET, TOKEN, Dynamo, Table  # noqa: E402
from harness import Emulator, Offpeak, clock  # noqa: E402

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
          "additionalProperties": False}


@pytest.fixture
def world(tmp_path):
    with Emulator(tmp_path) as emulator, Dynamo() as dynamo:
        offpeak = Offpeak(tmp_path, emulator, OFFPEAK_CLOCK=clock(1000), DYNAMODB_ENDPOINT=dynamo.url, **ENV)
        yield offpeak, dynamo, tmp_path
        assert dynamo.bad_signatures == []


def pipeline(folder, source, records="SELECT id AS key, id AS word FROM items", outputs=None, inputs=""):
    where = folder / "p"
    where.mkdir(exist_ok=True)
    outputs = outputs or "  - {csv: out.csv, key: [id], rows: SELECT key AS id FROM answers}\n"
    (where / "pipeline.yaml").write_text(f"""pipeline: p
about: DynamoDB
params:
  conversation_id: {{about: "a param", default: c1}}
inputs:
  items: {source}
{inputs}records: {records}
requests:
  ask: {{model: claude-haiku-4-5, max_tokens: 200, user: "About {{{{word}}}}", answer: a.json}}
outputs:
{outputs}""")
    (where / "a.json").write_text(json.dumps(SCHEMA))
    return where


def rows(world, source, sql, expect=0, header=False, **kwargs):
    """What a SELECT over the input gives, as the output's rows."""
    offpeak, _, folder = world
    outputs = f"  - csv: out.csv\n    guard: false\n    rows: |\n      {sql}\n"
    where = pipeline(folder, source, "SELECT 'r' AS key, 'w' AS word", outputs)
    done = offpeak.run("run", where, expect=expect, **kwargs)
    if expect:
        return done.stderr
    with open(offpeak.cwd / "out.csv", newline="", encoding="utf-8") as f:
        got = list(csv.reader(f))
        return got if header else got[1:]


def people(dynamo, count=8):
    dynamo.tables["People"] = t = Table("name", "size", {"size": "N"}, {"BySize": ("size", None)})
    for n in range(count):
        t.put({"name": {"S": "c1" if n < 7 else "c2"}, "size": {"N": str(n)}, "count": {"N": str(n % 2)}})
    return t


TYPES = [  # attribute value, typeof() and text in SQLite
    ({"S": "a\u00e9\"\n"}, "text", "a\u00e9\"\n"), ({"S": ""}, "text", ""),
    ({"N": "9223372036854775807"}, "integer", "9223372036854775807"),
    ({"N": "-12"}, "integer", "-12"), ({"N": "0.1"}, "real", "0.1"), ({"N": "1.50"}, "real", "1.5"),
    ({"N": "9223372036854775808"}, "text", "9223372036854775808"),
    ({"N": "0.12345678901234567890123456789"}, "text", "0.12345678901234567890123456789"),
    ({"BOOL": True}, "integer", "1"), ({"BOOL": False}, "integer", "0"), ({"NULL": True}, "null", ""),
    ({"B": "AAEC/w=="}, "blob", "000102FF"),
    ({"L": [{"S": "x"}, {"N": "1.50"}, {"NULL": True}, {"L": []}]}, "text", '["x",1.50,null,[]]'),
    ({"M": {"a": {"N": "12345678901234567890"}, "b": {"M": {"c": {"BOOL": True}}}}}, "text",
     '{"a":12345678901234567890,"b":{"c":true}}'),
    ({"SS": ["p", "q"]}, "text", '["p","q"]'), ({"NS": ["1", "2.5"]}, "text", "[1,2.5]"),
    ({"BS": ["AAE="]}, "text", '["AAE="]'),
]


def test_every_type(world):
    _, dynamo, _ = world
    dynamo.tables["T"] = t = Table("id")
    for n, (value, _, _) in enumerate(TYPES):
        t.put({"id": {"S": f"{n:02}"}, "value": value})
    got = rows(world, "{dynamodb: T}",
               "SELECT id, typeof(value), CASE typeof(value) WHEN 'blob' THEN hex(value) ELSE value END "
               "FROM items ORDER BY id")
    assert got == [[f"{n:02}", kind, text] for n, (_, kind, text) in enumerate(TYPES)]


@pytest.mark.parametrize("source,sizes", [
    ("{dynamodb: People}", range(8)),
    ('{dynamodb: People, where: "name = {{conversation_id}}"}', range(7)),
    ("{dynamodb: People, where: name = c1, and: size >= 5}", [5, 6]),
    ("{dynamodb: People, where: name = c1, and: size between 2 and 4}", [2, 3, 4]),
    ("{dynamodb: People, where: name = c1, filter: count N = 1}", [1, 3, 5]),
    ("{dynamodb: People, filter: count N <> 0, columns: [size]}", [1, 3, 5, 7]),
    ("{dynamodb: People, index: BySize, where: size = 6}", [6]),
])
def test_conditions(world, source, sizes):
    """Pages of three; names that are reserved words (name, size, count) never go out as they are."""
    _, dynamo, _ = world
    people(dynamo)
    got = rows(world, source, "SELECT size FROM items ORDER BY size")
    assert [int(r[0]) for r in got] == list(sizes)
    for _, request in dynamo.calls:
        text = " ".join(str(v) for k, v in request.items() if k.endswith("Expression"))
        assert not any(word in text for word in ("name", "size", "count")), text


def test_columns(world):
    """Named ones are asked for; unnamed ones are the key and what the first page has; _json is the item."""
    _, dynamo, _ = world
    people(dynamo)
    everything = "SELECT * FROM items LIMIT 1"
    assert rows(world, "{dynamodb: People, columns: [count, nothing]}", everything, header=True) == \
        [["count", "nothing"], ["0", ""]]
    dynamo.tables["People"].put({"name": {"S": "a"}, "size": {"N": "99"}, "late": {"S": "x"}})
    assert rows(world, "{dynamodb: People}", everything, header=True) == \
        [["name", "size", "count"], ["c1", "0", "0"]]
    got = rows(world, "{dynamodb: People, columns: [size, _json]}",
               "SELECT _json ->> 'late' FROM items WHERE size = 99")
    assert got == [["x"]]


def test_a_value_is_never_a_condition(world):
    """Whatever a param holds, it is one value."""
    offpeak, dynamo, folder = world
    people(dynamo)
    where = pipeline(folder, '{dynamodb: People, where: "name = {{conversation_id}}"}',
                     "SELECT size AS key, size AS word FROM items")
    evil = "c1 OR size > 0, #x = :y"
    offpeak.run("run", where, "--conversation_id", evil)
    query = [r for o, r in dynamo.calls if o == "Query"][-1]
    assert query["KeyConditionExpression"] == "#h0 = :h0"
    assert query["ExpressionAttributeValues"] == {":h0": {"S": evil}}


@pytest.mark.parametrize("fault", [
    ("ProvisionedThroughputExceededException", "slow down", 400), ("ThrottlingException", "", 400),
    ("InternalServerError", "", 500), ("drop",)])
def test_reading_is_tried_again(world, fault):
    _, dynamo, _ = world
    people(dynamo)
    dynamo.faults += [("Scan", *fault)] * 2
    assert len(rows(world, "{dynamodb: People}", "SELECT size FROM items")) == 8
    assert sum(o == "Scan" for o, _ in dynamo.calls) >= 3 + (2 if fault != ("drop",) else 0)


REFUSALS = {
    "no such table": ("{dynamodb: Nope}", None, ["Nope", "AWS_REGION", "--create-tables"]),
    "expired": ("{dynamodb: People}", ("ExpiredTokenException", "expired", 400), ["People", "run out", "new ones"]),
    "denied": ("{dynamodb: People}", ("AccessDeniedException", "not authorized", 400), ["may not", "DescribeTable"]),
    "unknown key": ("{dynamodb: People}", ("UnrecognizedClientException", "", 400), ["AWS_ACCESS_KEY_ID"]),
    "no index": ("{dynamodb: People, index: X}", None, ["index 'X'", "BySize"]),
    "not the key": ("{dynamodb: People, where: size = 1}", None, ["'name = VALUE'"]),
    "not the sort key": ("{dynamodb: People, where: name = a, and: count = 1}", None, ["sort key", "size"]),
    "no condition": ("{dynamodb: People, where: name}", None, ["'where'", "NAME = VALUE"]),
    "global index": ("{dynamodb: People, index: BySize, consistent: true}", None, ["consistently"]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(world, name):
    source, fault, words = REFUSALS[name]
    _, dynamo, _ = world
    people(dynamo)
    if fault:
        dynamo.faults += [("DescribeTable", *fault)] * 20
    said = rows(world, source, "SELECT 1 AS x", expect=1)
    for word in words + ["input 'items'"]:
        assert word in said, said
    assert SECRET not in said and TOKEN not in said
    assert sum(o == "DescribeTable" for o, _ in dynamo.calls) <= 1, "what is refused is not asked again"


def test_malformed_items_and_missing_tables(world):
    offpeak, dynamo, _ = world
    dynamo.tables["T"] = t = Table("id")
    for n, value in enumerate([{"S": "a"}, {"Q": "?"}, {"B": "not base64!"}, {"S": "b"}]):
        t.put({"id": {"S": str(n)}, "v": value})
    said = rows(world, "{dynamodb: T}", "SELECT 1 AS x", expect=1)
    assert "T" in said and "'v'" in said and "'Q'" in said and '"1"' in said
    assert rows(world, "{dynamodb: T, on_error: skip}", "SELECT v FROM items ORDER BY v") == [["a"], ["b"]]
    assert rows(world, "{dynamodb: Nope, optional: true, columns: [x]}", "SELECT count(x) FROM items") == [["0"]]


# --- writing ---

def write(world, options, select, count=60, expect=0, **kwargs):
    offpeak, dynamo, folder = world
    where = pipeline(folder, "{csv: " + str(folder / "in.csv") + "}", outputs=(
        f"  - dynamodb: Out\n    {options}\n    rows: |\n      {select}\n"))
    (folder / "in.csv").write_text("id\n" + "".join(f"r{n}\n" for n in range(count)))
    return offpeak.run("run", where, expect=expect, **kwargs)


def items(dynamo, name="Out"):
    return {i["id"]["S"]: i for i in dynamo.tables[name].items.values()}


def test_values_as_written(world):
    _, dynamo, _ = world
    dynamo.tables["Out"] = Table("id")
    write(world, 'key: [id]\n    types: [forced N, flag BOOL, digits S]\n    json_columns: [doc]',
          "SELECT key AS id, 9007199254740993 AS big, 0.1 AS d, 'x' || char(10) || '\"' AS t, NULL AS n, "
          "x'0001FF' AS b, '12345678901234567890123456789012345678' AS forced, 1 AS flag, 7 AS digits, "
          """'{"a":[1,2.50,null,true,"\\u00e9"],"b":{}}' AS doc FROM answers""", count=1)
    assert items(dynamo) == {"r0": {
        "id": {"S": "r0"}, "big": {"N": "9007199254740993"}, "d": {"N": "0.1"}, "t": {"S": 'x\n"'},
        "b": {"B": "AAH/"}, "forced": {"N": "12345678901234567890123456789012345678"}, "flag": {"BOOL": True},
        "digits": {"S": "7"},
        "doc": {"M": {"a": {"L": [{"N": "1"}, {"N": "2.50"}, {"NULL": True}, {"BOOL": True}, {"S": "\u00e9"}]},
                      "b": {"M": {}}}}}}


def test_batches_undone_throttled_and_dropped(world):
    """All faults at once leave each item once; a replay leaves the same."""
    offpeak, dynamo, _ = world
    dynamo.tables["Out"] = Table("id")
    dynamo.undone = 2
    dynamo.faults += [("BatchWriteItem", "ProvisionedThroughputExceededException"), ("BatchWriteItem", "drop"),
                      ("BatchWriteItem", "InternalServerError", "", 500)]
    write(world, "key: [id]", "SELECT key AS id, 1 AS v FROM answers")
    assert items(dynamo) == {f"r{n}": {"id": {"S": f"r{n}"}, "v": {"N": "1"}} for n in range(60)}
    sizes = [len(r["RequestItems"]["Out"]) for o, r in dynamo.calls if o == "BatchWriteItem"]
    assert max(sizes) == 25


def test_modes(world):
    _, dynamo, _ = world
    there = {"id": {"S": "r0"}, "v": {"S": "old"}, "mine": {"S": "kept"}, "gone": {"S": "x"}}
    select = "SELECT key AS id, 'new' AS v, NULL AS gone FROM answers"
    new = {"id": {"S": "r1"}, "v": {"S": "new"}}
    for options, first, second in [
            ("mode: insert_missing", there, new),
            ("mode: replace", {"id": {"S": "r0"}, "v": {"S": "new"}}, new),
            ("nulls: 'null'", {"id": {"S": "r0"}, "v": {"S": "new"}, "gone": {"NULL": True}},
             dict(new, gone={"NULL": True})),
            ("mode: update", dict(there, v={"S": "new"}), new),
            ("mode: update_existing", dict(there, v={"S": "new"}), None),
            ("mode: update\n    nulls: remove", {k: v for k, v in dict(there, v={"S": "new"}).items() if k != "gone"},
             new)]:
        dynamo.tables["Out"] = Table("id")
        dynamo.tables["Out"].put(dict(there))
        write(world, "key: [id]\n    " + options, select, count=2)
        want = {"r0": first, "r1": second} if second else {"r0": first}
        assert items(dynamo) == want, options


def test_what_no_table_takes(world):
    """A row that cannot be an item is said with its key and left out; the others go on."""
    offpeak, dynamo, _ = world
    dynamo.tables["Out"] = Table("id")
    write(world, "key: [id]", "SELECT key AS id, CASE key WHEN 'r1' THEN "
          "printf('%.*c', 410000, 'x') ELSE 'ok' END AS v FROM answers", count=3, expect=None)
    assert sorted(items(dynamo)) == ["r0", "r2"]
    said = offpeak.run("show", "job-1", "--rejected").stdout + offpeak.run("show", "job-1").stdout + \
        json.dumps(offpeak.ledger("SELECT * FROM note"))
    assert "400 KB" in said and "r1" in said


@pytest.mark.parametrize("table,options,words", [
    (Table("other"), "key: [id]", ["Out", "(other)", "'key'"]),
    (Table("id", types={"id": "N"}), "key: [id]", ["Type mismatch", "r0"]),
    (None, "key: [id]", ["Out", "--create-tables"]),
])
def test_targets_that_do_not_fit(world, table, options, words):
    """Nothing is lost: with a table that fits, `run` delivers."""
    offpeak, dynamo, _ = world
    if table:
        dynamo.tables["Out"] = table
    done = write(world, options, "SELECT key AS id, 1 AS v FROM answers", count=2, expect=None)
    assert done.returncode != 0
    assert all(w in done.stderr for w in words), done.stderr
    dynamo.tables["Out"] = Table("id")
    offpeak.run("run", "job-1", expect=0)
    assert sorted(items(dynamo)) == ["r0", "r1"]
