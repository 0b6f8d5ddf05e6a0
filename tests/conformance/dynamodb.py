"""DynamoDB-compatible servers that are not ours, and Amazon's own Python client, against the source and
the sink. usage: dynamodb.py ENDPOINT NAME;
the server is empty. OFFPEAK names the program.

Oracle: boto3 writes what offpeak reads and reads what offpeak wrote; the server says what it takes.
"""
import decimal
import os
import pathlib
import sys
import tempfile

import boto3
from boto3.dynamodb.types import Binary

root = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(root / "tests" / "support")]
from harness import Emulator, Offpeak, clock  # noqa: E402

endpoint, name = sys.argv[1:3]
D = decimal.Decimal
failures, checks = [], 0


def check(what, got, want):
    global checks
    checks += 1
    if got != want:
        failures.append(what)
        print(f"{name}: {what}:\n  got  {got!r}\n  want {want!r}")


PIPELINE = """pipeline: p
about: DynamoDB
inputs:
  items:
    dynamodb: Source
    where: conversation_id = c1
    and: comment_id >= 10
    hash: conversation_id S
    range: comment_id N
    indexes: "BySize(size N)"
  whole: {dynamodb: Source, filter: size N > 5, columns: [comment_id, _json]}
  sized: {dynamodb: Source, index: BySize, where: size = 3}
  former: {dynamodb: Target, columns: [id, created_at, doc]}
records: SELECT comment_id AS key, printf('%.2s %d', text, comment_id) AS word FROM items
requests:
  ask: {model: claude-haiku-4-5, max_tokens: 8000, user: "About {{word}}", answer: a.json}
outputs:
  - dynamodb: Target
    key: [id, created_at]
    hash: id S
    range: created_at S
    indexes: ByReport(report_id S, created_at S), ByModel(model S)
    json_columns: [doc]
    types: [ok BOOL]
    rows: >
      SELECT 'r' || key AS id, '2026' AS created_at, 'rep' AS report_id, 'm' AS model, 1 AS ok,
             9007199254740993 AS big, 0.1 AS tenth, x'00ff' AS bytes, '{"a":[1,2.5,null],"b":{"c":"d"}}' AS doc,
             (SELECT count(*) FROM whole) AS over_5, (SELECT count(*) FROM sized) AS are_3 FROM answers
  - dynamodb: Target
    key: [id, created_at]
    mode: update
    rows: SELECT 'r' || key AS id, '2026' AS created_at, 'later' AS note, 'name' AS size FROM answers
"""

with tempfile.TemporaryDirectory() as folder, Emulator(folder) as emulator:
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local-secret", "region_name": "us-east-1"}
    offpeak = Offpeak(folder, emulator, OFFPEAK_CLOCK=clock(1000), AWS_ENDPOINT_URL_DYNAMODB=endpoint,
                      AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local-secret",
                      AWS_DEFAULT_REGION="us-east-1")
    where = pathlib.Path(folder) / "p"
    where.mkdir()
    (where / "pipeline.yaml").write_text(PIPELINE)
    (where / "a.json").write_text('{"type":"object","properties":{"text":{"type":"string"}},'
                                  '"required":["text"],"additionalProperties":false}')
    missing = offpeak.run("run", where)
    check("a missing table is said", ("Source" in missing.stderr, missing.returncode), (True, 1))
    for made in ("made", "is there"):
        done = offpeak.run("doctor", "--create-tables", where, expect=0)
        check(f"tables: {made}", done.stdout.count(made), 2)
    db = boto3.resource("dynamodb", endpoint_url=endpoint, **keys)
    about = db.meta.client.describe_table(TableName="Target")["Table"]
    check("the key", about["KeySchema"], [{"AttributeName": "id", "KeyType": "HASH"},
                                          {"AttributeName": "created_at", "KeyType": "RANGE"}])
    check("the indexes", sorted(i["IndexName"] for i in about["GlobalSecondaryIndexes"]), ["ByModel", "ByReport"])
    source = db.Table("Source")
    with source.batch_writer() as batch:  # 9,000 items of 300 bytes: more than two pages
        for n in range(9000):
            batch.put_item(Item={"conversation_id": "c1" if n < 60 else "c2", "comment_id": n, "text": "t\u00e9" * 100,
                                 "size": n % 9, "name": f"n{n}", "parts": {"x": [D("0.1"), None, True]}})
    offpeak.run("run", where, expect=0)
    target = db.Table("Target")
    items = sorted(target.scan()["Items"], key=lambda i: i["id"])
    check("each row once", [i["id"] for i in items], sorted(f"r{n}" for n in range(10, 60)))
    check("an item", items[0], {
        "id": "r10", "created_at": "2026", "report_id": "rep", "model": "m", "ok": True,
        "big": D("9007199254740993"), "tenth": D("0.1"), "bytes": Binary(b"\x00\xff"),
        "doc": {"a": [D(1), D("2.5"), None], "b": {"c": "d"}}, "over_5": D(3000), "are_3": D(1000),
        "note": "later", "size": "name"})
    by = target.query(IndexName="ByReport", KeyConditionExpression="report_id = :r",
                      ExpressionAttributeValues={":r": "rep"})
    check("by its index", by["Count"], 50)
    offpeak.run("run", where, "--fresh", expect=0)
    check("again", sorted(target.scan()["Items"], key=lambda i: i["id"]), items)

print(f"{name}: {checks} checks, {len(failures)} failed")
sys.exit(1 if failures else 0)
