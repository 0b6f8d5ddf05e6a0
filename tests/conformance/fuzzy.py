# SPDX-License-Identifier: MIT
"""fuzzy_match and fuzzy_search against rapidfuzz: 3,000 pairs of names, some of them misspelt, some far apart.
usage: fuzzy.py OFFPEAK FOLDER"""
import csv
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import unicodedata

from rapidfuzz import fuzz

offpeak, folder = sys.argv[1], pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
dice = random.Random(7)
PARTS = ["Josh", "Allen", "D'Andre", "O\u2019Neal", "Amon-Ra", "St. Brown", "J\u00f3se", "N\u00fa\u00f1ez", "Jr.", "III", "Smith-Njigba", "Mahomes",
         "de la Cruz", "\u0141ukasz", "ALLEN'S", "Ng", "Fa'alogo", "Vandermeer", "\u738b\u4f1f", "Wex"]


def misspell(text):
    at = dice.randrange(len(text))
    return text[:at] + dice.choice(["", "x", text[at] * 2, " "]) + text[at + 1:]


def name():
    return " ".join(dice.choices(PARTS, k=dice.randint(1, 4)))


def processed(text):
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(re.sub("['\u2019]s?", "", text).split())


pairs = []
for i in range(3000):
    a = name()
    pairs.append((i, a, misspell(misspell(a)) if i % 2 else name()))
with open(folder / "pairs.csv", "w", newline="", encoding="utf-8") as f:
    csv.writer(f).writerows([("id", "a", "b"), *pairs])
(folder / "pipeline.yaml").write_text(json.dumps({
    "pipeline": "pairs", "inputs": {"pairs": {"csv": str(folder / "pairs.csv")}}, "records": "SELECT 'k' AS key",
    "requests": {"ask": {"model": "gpt-6-luna", "user": "hello"}},
    "outputs": [{"csv": str(folder / "scores.csv"), "key": ["id"],
                 "rows": "SELECT p.id, fuzzy_match(p.a, p.b) AS score, (SELECT s.score FROM fuzzy_search('pairs', 'b', p.a, 0) AS s "
                         "WHERE s.row = p.rowid) AS found FROM answers, pairs AS p WHERE CAST(p.id AS INTEGER) < 600"},
                {"csv": str(folder / "more.csv"), "key": ["id"],
                 "rows": "SELECT p.id, fuzzy_match(p.a, p.b) AS score FROM answers, pairs AS p"}]}))
env = dict(os.environ, OFFPEAK_STATE=str(folder / "state"))
subprocess.run([offpeak, "run", str(folder), "--emulate", "--fresh"], check=True, env=env, stdout=subprocess.DEVNULL,
               stderr=subprocess.DEVNULL)
checks = failed = 0
for file in ("scores.csv", "more.csv"):
    for row in csv.DictReader(open(folder / file, newline="", encoding="utf-8")):
        _, a, b = pairs[int(row["id"])]
        want = fuzz.token_sort_ratio(processed(a), processed(b))
        for column in ("score", "found"):
            if column in row:
                checks += 1
                if abs(float(row[column]) - want) > 1e-6:
                    failed += 1
                    print(f"{column} of {a!r}, {b!r}: {row[column]}, rapidfuzz {want}")
print(f"fuzzy: {checks - failed} agree with rapidfuzz, {failed} do not")
sys.exit(failed > 0 or checks < 4000)
