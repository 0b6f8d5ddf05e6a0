#!/usr/bin/env python3
"""The data of `make bench`: always the same for the same number.

    data.py records N FILE    articles as JSONL, about 2 kB a line
    data.py results N FILE    answers to them as the provider's result lines, about 2.8 kB each, in no
                              order; custom_id is the article's key; the answer holds 4 or 5 items;
                              every tenth line is written with \\uXXXX escapes
"""
import bisect
import json
import random
import sys

BLOCK = 50_000  # results are shuffled inside so many

PLAIN = """the a of and to in for with on by from at over under between after before river valley town
market bridge harbour winter summer harvest engine signal current pressure measure record theory method
result question answer reason change growth balance system network layer window mirror letter paper
silver copper iron glass stone timber cotton barley orchard garden village council teacher student
doctor farmer sailor painter builder keeps makes finds leaves brings turns holds shows follows begins
early late small large quiet narrow northern ancient common useful careful several almost often never"""
FOREIGN = """größe straße über früh höhe käse fluß märz garçon déjà forêt été naïve crème señor mañana año
niño corazón żółw łódź gęś příliš kůň smörgås ångström øre København İstanbul Ελλάδα θάλασσα река зима
город 東京 大阪 海 山 北京 水 한국 바다 emoji 🙂 🌍 – … „so“ € ½"""


def key_of(number):
    return f"article-{number:09d}"


class Pool:
    """A long text of sentences; slices of it are cheap and look different."""

    def __init__(self, seed, words, size):
        rng = random.Random(seed)
        parts, self.starts, at = [], [], 0
        while at < size:
            chosen = [rng.choice(words) for _ in range(rng.randint(6, 18))]
            if rng.random() < 0.1:
                chosen[2] = f'"{chosen[2]}"'
            sentence = " ".join(chosen)
            sentence = sentence[0].upper() + sentence[1:]
            if rng.random() < 0.3:
                sentence = sentence.replace(" ", ", ", 1)
            sentence += rng.choice([". ", ". ", ". ", ".\n", "! "])
            self.starts.append(at)
            parts.append(sentence)
            at += len(sentence)
        self.text = "".join(parts)

    def take(self, where, size):
        """About size characters in whole sentences, from the one at or behind where."""
        starts = self.starts
        first = bisect.bisect_left(starts, where % (len(self.text) - size - 1000))
        last = bisect.bisect_left(starts, starts[first] + size, first + 1)
        return self.text[starts[first]:starts[last]].rstrip()


def pools():
    plain = PLAIN.split()
    return Pool(1, plain, 3_000_000), Pool(2, plain[:40] + FOREIGN.split() * 2, 1_500_000)


def write_records(count, path):
    plain, foreign = pools()
    rng = random.Random(3)
    dumps = json.JSONEncoder(ensure_ascii=False).encode
    with open(path, "w", encoding="utf-8") as out:
        for number in range(count):
            pool = foreign if number % 10 == 7 else plain
            at = rng.getrandbits(32)
            out.write(dumps({
                "key": key_of(number),
                "title": f"{number}. " + pool.take(at, 40).replace("\n", " "),
                "category": plain.text[at % 1000:at % 1000 + 8].strip(),
                "words": at % 400,
                "body": pool.take(at >> 3, 1820 if pool is plain else 1500),
            }) + "\n")


def answer(rng, pool, plain):
    items = []
    for _ in range(4 + (rng.getrandbits(16) & 1)):
        at = rng.getrandbits(32)
        items.append({
            "question": pool.take(at, 60).replace("\n", " "),
            "answer": pool.take(at >> 5, 270 if pool is plain else 150),
            "topic": plain.text[at % 5000:at % 5000 + 12].strip(' ".,!\n') or "none",
            "difficulty": at % 5 + 1,
        })
    return items


def write_results(count, path):
    plain, foreign = pools()
    rng = random.Random(4)
    raw = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    escaped = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
    with open(path, "w", encoding="utf-8") as out:
        for block in range(0, count, BLOCK):
            numbers = list(range(block, min(block + BLOCK, count)))
            rng.shuffle(numbers)
            for number in numbers:
                escapes = number % 10 == 3
                items = answer(rng, foreign if escapes else plain, plain)
                text = raw({"items": items})
                line = {"custom_id": key_of(number), "result": {"type": "succeeded", "message": {
                    "model": "claude-haiku-5-5", "id": f"msg_01{rng.getrandbits(100):025x}",
                    "type": "message", "role": "assistant",
                    "content": [{"type": "text", "text": text}],
                    "stop_reason": "end_turn", "stop_sequence": None,
                    "usage": {"input_tokens": 600 + number % 90, "cache_creation_input_tokens": 0,
                              "cache_read_input_tokens": 0,
                              "cache_creation": {"ephemeral_5m_input_tokens": 0,
                                                 "ephemeral_1h_input_tokens": 0},
                              "output_tokens": len(text) // 4, "service_tier": "batch",
                              "inference_geo": "not_available"}}}}
                out.write((escaped if escapes else raw)(line) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("records", "results"):
        sys.exit(__doc__)
    {"records": write_records, "results": write_results}[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
