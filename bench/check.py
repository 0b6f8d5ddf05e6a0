#!/usr/bin/env python3
"""Tells whether programs did the same work, in any order.

    check.py rows KIND FILE            number and checksum of the rows of a csv, jsonl or sqlite file
    check.py requests FILE...          number of the requests in batch files, checksum of a share of
                                       their params
"""
import csv
import hashlib
import json
import sqlite3
import sys

COLUMNS = ["key", "n", "question", "answer", "topic", "difficulty"]
SHARE = 101  # parsing every request would take longer than all else


def rows(kind, path):
    if kind == "csv":
        with open(path, encoding="utf-8", newline="") as f:
            reader = csv.reader(f)
            if next(reader) != COLUMNS:
                raise SystemExit(f"{path}: another header")
            yield from reader
    elif kind == "jsonl":
        with open(path, encoding="utf-8") as f:
            for line in f:
                row = json.loads(line)
                if list(row) != COLUMNS:
                    raise SystemExit(f"{path}: other members")
                yield map(str, row.values())
    else:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        for row in db.execute(f"SELECT {', '.join(COLUMNS)} FROM items"):
            yield map(str, row)


def digest(text):
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def check_rows(kind, path):
    count = total = 0
    for row in rows(kind, path):
        count += 1
        total += digest("\0".join(row))
    return count, total


def check_requests(paths):
    """Requests are counted in the order of the files, so the same ones are looked at each time."""
    count = total = 0
    for path in paths:
        with open(path, "rb") as f:
            for line in f:
                if count % SHARE == 0:
                    text = line.decode().removeprefix('{"requests":[').rstrip("\n")
                    text = text.removesuffix("]}") if text.endswith("}]}") else text.removesuffix(",")
                    params = json.loads(text)["params"]
                    total += digest(json.dumps(params, sort_keys=True))
                count += 1
    return count, total


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("rows", "requests"):
        sys.exit(__doc__)
    found = check_rows(*sys.argv[2:]) if sys.argv[1] == "rows" else check_requests(sys.argv[2:])
    print(found[0], f"{found[1] % 2**64:016x}")
