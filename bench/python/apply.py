#!/usr/bin/env python3
"""Result lines to rows, as one would write it: apply.py csv|jsonl|sqlite RESULTS TARGET"""
import csv
import json
import sqlite3
import sys

COLUMNS = ["key", "n", "question", "answer", "topic", "difficulty"]


def rows(results):
    with open(results, encoding="utf-8") as lines:
        for line in lines:
            line = json.loads(line)
            if line["result"]["type"] != "succeeded":
                raise SystemExit(f"{line['custom_id']} did not succeed")
            answer = json.loads(line["result"]["message"]["content"][0]["text"])
            for n, item in enumerate(answer["items"], 1):
                if not isinstance(item["difficulty"], int):
                    raise SystemExit(f"an item of {line['custom_id']} is not as it should be")
                yield (line["custom_id"], n, item["question"], item["answer"], item["topic"],
                       item["difficulty"])


def to_csv(results, target):
    with open(target, "w", encoding="utf-8", newline="") as f:
        out = csv.writer(f)
        out.writerow(COLUMNS)
        out.writerows(rows(results))


def to_jsonl(results, target):
    with open(target, "w", encoding="utf-8") as out:
        for row in rows(results):
            out.write(json.dumps(dict(zip(COLUMNS, row)), ensure_ascii=False) + "\n")


def to_sqlite(results, target):
    db = sqlite3.connect(target)
    db.execute("CREATE TABLE items(key TEXT, n INTEGER, question TEXT, answer TEXT, topic TEXT, "
               "difficulty INTEGER, PRIMARY KEY(key, n))")
    with db:
        db.executemany("INSERT INTO items VALUES(?,?,?,?,?,?)", rows(results))
    db.close()


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("csv", "jsonl", "sqlite"):
        sys.exit(__doc__)
    {"csv": to_csv, "jsonl": to_jsonl, "sqlite": to_sqlite}[sys.argv[1]](*sys.argv[2:])
