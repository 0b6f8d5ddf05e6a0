#!/usr/bin/python3
"""Judges what a schedule of the fault program has left behind: ledger, spool, outputs and the emulator's
bill, against the invariants I1 to I18 (docs/reliability.md). Shares no code with the program.

A JSON line on stdin names the folder; the verdict is one line on stdout, "ok" or what is broken.
"""
import collections
import csv
import hashlib
import json
import os
import pathlib
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from ledger_views import Ledger  # noqa: E402

# Its own copy of the table of moves (docs/design/ledger.md).
MOVES = {
    "": {"built"},
    "built": {"uploaded", "sending", "accepted", "dropped"},
    "uploaded": {"sending", "dropped"},
    "sending": {"ambiguous", "accepted", "rejected"},
    "ambiguous": {"accepted", "unsent", "quarantined"},
    "accepted": {"ambiguous", "ended", "rejected", "vanished", "quarantined"},
    "ended": {"ambiguous", "fetched", "vanished", "quarantined"},
    "fetched": {"ambiguous", "ended", "applied", "quarantined"},
    "applied": {"sealed"},
    "rejected": {"accepted"}, "unsent": {"accepted"}, "vanished": {"accepted"},
    "sealed": set(), "dropped": set(), "quarantined": set(),
}
FINAL_JOBS = {"done", "partial", "canceled", "failed"}
FINAL_BATCHES = {"sealed", "rejected", "unsent", "vanished", "dropped"}
FINAL_REQUESTS = {"done", "failed", "canceled"}
PRICES = (7, 8, 9, 1, 11)  # prices.yaml
# Faults that the bill names and that keep an answer from being told apart or read.
SPOILT = {"drop_line", "corrupt_line", "null_id", "rename_id", "status_zero", "expire_line", "error_line"}
BOUGHT = {"succeeded", "refused", "truncated"}


class Broken(Exception):
    pass


def demand(good, invariant, text, *values):
    if not good:
        raise Broken(f"{invariant}: " + text.format(*values))


def answer_text(provider, line):
    """The text of an answer in a result line, as the provider's own documentation describes it."""
    body = json.loads(line)
    if provider == "anthropic":
        parts = body["result"]["message"]["content"]
        return "".join(p["text"] for p in parts if p["type"] == "text")
    if provider == "gemini":
        parts = body["response"]["candidates"][0].get("content", {}).get("parts", [])
        return "".join(p["text"] for p in parts if not p.get("thought"))
    body = body["response"]["body"]
    if "choices" in body:
        return body["choices"][0]["message"]["content"]
    return "".join(c["text"] for item in body["output"] if item["type"] == "message"
                   for c in item["content"] if c["type"] == "output_text")


class Case:
    def __init__(self, told):
        self.told = told
        self.folder = pathlib.Path(told["folder"])
        self.state = self.folder / "root" / "state"
        self.work = self.folder / "root" / "work"
        self.spool = self.state / "spool"
        self.ledger = Ledger(self.state / "ledger.db")
        self.read_bill()
        self.cache = {}
        with open(self.folder / "faults.jsonl") as rules:
            done = {json.loads(rule)["do"] for rule in rules}
        self.spoils, self.refuses = SPOILT & done, "refusal" in done

    def read_bill(self):
        """accepted and ended: (bill's batch, custom_id) -> line, in the order of the bill."""
        self.accepted, self.ended = {}, {}
        self.bought_twice_in_a_batch = []
        with open(self.folder / "emu" / "bill.jsonl", "rb") as bill:
            for raw in bill:
                line = json.loads(raw)
                key = line["batch"], line["custom_id"]
                into = self.accepted if line["state"] == "accepted" else self.ended
                if key in into:
                    self.bought_twice_in_a_batch.append(key)
                into[key] = line
        self.accepted_by_batch = {line["batch"]: line for line in self.accepted.values()}
        self.by_nonce = {b.nonce: b for b in self.ledger.batches.values()}

    def place(self, custom_id):
        """The ledger's (request id, batch) that a custom_id of the bill names."""
        tag, nonce, number = custom_id.split("-")
        demand(tag == self.ledger.tag, "I4", "the bill has another ledger's {}", custom_id)
        batch = self.by_nonce.get(nonce)
        demand(batch, "I12", "{} was bought, and no batch in the ledger has its nonce", custom_id)
        return int(number, 36), batch

    def bytes_of(self, result):
        file = self.ledger.files.get((result.batch, result.part))
        demand(file, "I8", "result of request {} in batch {}: no file of part {}", result.request,
               result.batch, result.part)
        if file.file not in self.cache:
            self.cache[file.file] = (self.spool / file.file).read_bytes()
        return self.cache[file.file][result.offset:result.offset + result.length]

    def answer_of(self, result):
        return answer_text(self.told["provider"], self.bytes_of(result))

    # --- the invariants ---------------------------------------------------------------------

    def i1_final_states(self):
        ledger = self.ledger
        keys = {f"r{i}" for i in range(self.told["records"])}
        demand(ledger.jobs, "I1", "there is no job")
        by_job = collections.defaultdict(list)
        for request in ledger.requests.values():
            by_job[request.job].append(request)
        for job in ledger.jobs.values():
            demand(job.state in FINAL_JOBS, "I1", "job {} is {}", job.id, job.state)
            demand(job.reserved == 0, "I5", "job {} still reserves {}", job.id, job.reserved)
            planned = {ledger.records[r.record].key for r in by_job[job.id]}
            counted = collections.Counter(r.state for r in by_job[job.id])
            demand(set(counted) <= FINAL_REQUESTS, "I1", "job {} has requests in {}", job.id, dict(counted))
            if job.state != "failed" and not (job.state == "canceled" and not by_job[job.id]):
                demand(planned == keys, "I1", "job {} lacks records: {} of {}", job.id, len(planned),
                       len(keys))
                demand(len(by_job[job.id]) == len(keys), "I1", "job {} has {} requests", job.id,
                       len(by_job[job.id]))
            demand((counted["done"], counted["failed"], counted["canceled"]) ==
                   (job.done, job.failed, job.canceled), "I5",
                   "job {} counts {} done, {} failed, {} canceled; they are {}", job.id, job.done,
                   job.failed, job.canceled, dict(counted))

    def is_forgotten(self, bill_batch, batch):
        """Whether the provider itself forgot this batch, and the ledger says so: that it was there and is
        gone; or, where its id was never on our disk, that complete listings do not have it. That is the
        one purchase in vain that is not promised away (docs/reliability.md)."""
        if self.accepted_by_batch[bill_batch].get("fault") != "vanish":
            return False
        if batch.state == "vanished":
            return batch.provider_id.endswith(bill_batch)
        moves = [m for m in self.ledger.journal if m.batch == batch.id]
        box = self.state / "blackbox"
        return batch.state == "unsent" and "accepted" not in {m.to_state for m in moves} and \
            "complete listings" in moves[-1].evidence and \
            not (box.exists() and bill_batch.encode() in box.read_bytes())

    def reason_to_buy_again(self, bill_batch, purchase):
        """Why what was bought in this purchase may be bought again; None: there is none."""
        request, batch = purchase
        result = self.ledger.results.get((request, batch.id))
        if self.is_forgotten(bill_batch, batch):
            return "forgotten"
        if not result:
            return None
        return None if result.valid and result.kind == "succeeded" else result.kind

    def i2_bought_once(self):
        demand(not self.bought_twice_in_a_batch, "I2", "the bill has twice: {}",
               self.bought_twice_in_a_batch)
        by_request, by_hash = collections.defaultdict(list), collections.defaultdict(list)
        for (bill_batch, custom_id), line in self.accepted.items():
            purchase = (line["time"], bill_batch, custom_id, self.place(custom_id))
            by_request[purchase[3][0]].append(purchase)
            by_hash[line["hash"]].append(purchase)
        for purchases in [*by_request.values(), *by_hash.values()]:
            purchases.sort()
            for before, after in zip(purchases, purchases[1:]):
                ended = self.ended.get(before[1:3])
                reason = self.reason_to_buy_again(before[1], before[3])
                demand(reason, "I2", "{} and again {}: bought twice without a reason", before[2], after[2])
                demand(reason == "forgotten" or (ended and ended["time"] <= after[0]), "I2",
                       "{} was bought again as {} before it had ended", before[2], after[2])
        for number, purchases in by_request.items():
            request = self.ledger.requests.get(number)
            demand(request, "I1", "request {} was bought and is not in the ledger", number)

    def i3_answers_kept(self):
        for key, line in self.ended.items():
            # The bill names one fault a line, and more may have struck it.
            if line["state"] != "succeeded" or (line.get("fault") and self.spoils):
                continue
            number, batch = self.place(key[1])
            if self.is_forgotten(key[0], batch):
                continue
            result = self.ledger.results.get((number, batch.id))
            demand(result, "I3", "{} was answered, and the ledger has no result", key[1])
            demand(result.kind in BOUGHT, "I3", "{} was answered, and is {}", key[1], result.kind)
            if result.kind == "refused" or (line.get("fault") and self.refuses):
                continue  # the bill has the answer that was withheld
            text = self.answer_of(result)
            demand(hashlib.sha256(text.encode()).hexdigest() == line.get("answer"), "I3",
                   "the answer to {} is not the one that was given", key[1])

    def i4_i5_results_and_sums(self):
        ledger = self.ledger
        bill = {}
        for (_, custom_id), line in self.ended.items():
            number, batch = self.place(custom_id)
            bill[number, batch.id] = line
        sums = collections.defaultdict(lambda: [0] * 6)
        for key, result in ledger.results.items():
            line = bill.get(key)
            if result.kind in BOUGHT:
                demand(line and line["state"] == "succeeded", "I4",
                       "request {} has an answer in batch {} that is not on the bill", *key)
                told = tuple(line[name] for name in (
                    "input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
                    "cache_read_tokens", "output_tokens"))
                demand(told == result.tokens, "I5", "request {} in batch {}: {} tokens, the bill says {}",
                       *key, result.tokens, told)
                demand(result.microusd == sum(p * t for p, t in zip(PRICES, told)), "I5",
                       "request {} in batch {} costs {}", *key, result.microusd)
            for into in (sums["batch", result.batch],
                         sums["job", ledger.batches[result.batch].job]):
                into[0] += result.microusd
                for i, tokens in enumerate(result.tokens):
                    into[i + 1] += tokens
        for batch in ledger.batches.values():
            sums["job", batch.job][0] += batch.extra
            has = sums["batch", batch.id]
            demand((batch.spent - batch.extra, *batch.tokens) == tuple(has), "I5",
                   "batch {} counts {}, its results {}", batch.id, (batch.spent, *batch.tokens), has)
        for job in ledger.jobs.values():
            demand((job.spent, *job.tokens) == tuple(sums["job", job.id]), "I5",
                   "job {} counts {}, its results {}", job.id, (job.spent, *job.tokens),
                   sums["job", job.id])
        for batch in ledger.batches.values():
            of = [r for r in ledger.results.values() if r.batch == batch.id]
            good = sum(r.valid for r in of)
            absent = sum(r.kind == "absent" for r in of)
            demand((batch.ok, batch.ok + batch.failed + batch.absent) in
                   ((good, len(of)), (good, good + (len(of) - good))), "I5",
                   "batch {} counts {} ok, {} failed, {} absent of {} results ({} good, {} absent)",
                   batch.id, batch.ok, batch.failed, batch.absent, len(of), good, absent)

    def wanted_rows(self):
        """id -> text of every record that has an answer in any job."""
        rows = {}
        good = {r.request: r for r in self.ledger.results.values() if r.valid and r.kind == "succeeded"}
        for request in self.ledger.requests.values():
            if request.state != "done":
                continue
            seen, at = set(), request
            while at.id not in good and at.same_as and at.id not in seen:
                seen.add(at.id)
                at = self.ledger.requests[at.same_as]
            demand(at.id in good, "I3", "request {} is done without an answer", request.id)
            rows[self.ledger.records[request.record].key] = \
                json.loads(self.answer_of(good[at.id]))["text"]
        return rows

    def read_rows(self):
        """What each output has: a list of (id, text)."""
        outputs = {"rows.jsonl": []}
        if (self.work / "rows.jsonl").exists():
            with open(self.work / "rows.jsonl", encoding="utf-8") as f:
                outputs["rows.jsonl"] = [(r["id"], r["text"]) for r in map(json.loads, f)]
        if self.told["sqlite"]:
            outputs["answers.db"] = []
            if (self.work / "answers.db").exists():
                db = sqlite3.connect(f"file:{self.work / 'answers.db'}?mode=ro", uri=True)
                try:
                    demand(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "I9", "answers.db")
                    outputs["answers.db"] = db.execute("SELECT id, text FROM answers").fetchall()
                except sqlite3.OperationalError as e:
                    demand("no such table" in str(e), "I6", "answers.db: {}", e)
                finally:
                    db.close()
        else:
            outputs["answers.csv"] = []
            if (self.work / "answers.csv").exists():
                with open(self.work / "answers.csv", newline="", encoding="utf-8") as f:
                    outputs["answers.csv"] = [(r["id"], r["text"]) for r in csv.DictReader(f)]
        return outputs

    def i6_outputs(self):
        wanted = self.wanted_rows()
        for name, rows in self.read_rows().items():
            demand(len(rows) == len(set(r[0] for r in rows)), "I6", "{} has a key twice: {}", name,
                   [r[0] for r in rows])
            demand(dict(rows) == wanted, "I6", "{} has {}, the ledger {}", name,
                   sorted(r[0] for r in rows), sorted(wanted))
        for outbox in self.ledger.outboxes:
            demand(outbox.committed == outbox.delivered, "I6", "job {} output {}: {} of {} delivered",
                   *outbox[:2], outbox.delivered, outbox.committed)

    def i7_journal(self):
        state = {}
        for move in self.ledger.journal:
            epoch, now = state.get(move.batch, (-1, ""))
            demand(move.epoch == epoch + 1, "I7", "batch {} jumps from epoch {} to {}", move.batch, epoch,
                   move.epoch)
            demand(move.from_state == now and move.to_state in MOVES[now], "I7",
                   "batch {} goes from {} to {} where it was {}", move.batch, move.from_state,
                   move.to_state, now)
            state[move.batch] = move.epoch, move.to_state
        for batch in self.ledger.batches.values():
            demand(state.get(batch.id) == (batch.epoch, batch.state), "I7",
                   "batch {} is {} at epoch {}, its journal says {}", batch.id, batch.state, batch.epoch,
                   state.get(batch.id))

    def i8_files(self):
        referenced = set()
        for batch in self.ledger.batches.values():
            referenced.add(batch.file)
            if batch.state in ("dropped", "unsent", "rejected") and not (self.spool / batch.file).exists():
                continue
            demand((self.spool / batch.file).exists(), "I8", "batch {} ({}): {} is not there", batch.id,
                   batch.state, batch.file)
            demand(hashlib.sha256((self.spool / batch.file).read_bytes()).hexdigest() == batch.sha256, "I8",
                   "batch {}: {} has other bytes", batch.id, batch.file)
        for file in self.ledger.files.values():
            referenced |= {file.file, file.document}
            demand((self.spool / file.file).exists(), "I8", "batch {}: {} is not there", file.batch,
                   file.file)
            data = (self.spool / file.file).read_bytes()
            demand(len(data) == file.bytes and hashlib.sha256(data).hexdigest() == file.sha256, "I8",
                   "batch {}: {} has other bytes", file.batch, file.file)
        self.strays = [f"{folder}/{name}" for folder in ("payload", "result")
                       for name in os.listdir(self.spool / folder)
                       if f"{folder}/{name}" not in referenced]

    def i9_integrity(self):
        demand(not self.ledger.problems, "I9", "the ledger: {}", self.ledger.problems)

    def i10_settled(self):
        for batch in self.ledger.batches.values():
            demand(batch.state in FINAL_BATCHES, "I10", "batch {} is {}", batch.id, batch.state)

    def i11_sent_once(self):
        by_nonce = collections.defaultdict(set)
        for bill_batch, custom_id in self.accepted:
            by_nonce[custom_id.split("-")[1]].add(bill_batch)
        for nonce, batches in by_nonce.items():
            demand(len(batches) == 1, "I11", "nonce {} was sent {} times", nonce, len(batches))

    def i12_intent(self):
        """What was bought was announced and intended before: the manifest and the journal say so."""
        manifest = self.spool / "manifest.jsonl"
        announced = set()
        if manifest.exists():
            for line in manifest.read_bytes().splitlines():
                try:
                    announced.add(json.loads(line).get("nonce"))
                except ValueError:
                    pass  # a line that a crash has cut
        intended = {self.ledger.batches[m.batch].nonce for m in self.ledger.journal
                    if m.to_state in ("sending", "accepted")}
        for _, custom_id in self.accepted:
            nonce = custom_id.split("-")[1]
            demand(nonce in announced, "I12", "{} was bought and never announced", custom_id)
            demand(nonce in intended, "I12", "{} was bought and never intended", custom_id)

    def i13_no_secret(self):
        secret = self.told["secret"].encode()
        for folder, _, names in os.walk(self.folder / "root"):
            for name in names:
                if name == "blackbox" and os.path.getsize(f"{folder}/{name}") == 1 << 20:
                    with open(f"{folder}/{name}", "rb") as f:
                        demand(secret not in f.read(1 << 16), "I13", "{} has the key", name)
                    continue
                with open(f"{folder}/{name}", "rb") as f:
                    demand(secret not in f.read(), "I13", "{} has the key", name)
        demand(secret not in (self.folder / "out.txt").read_bytes(), "I13", "the terminal has the key")

    def i14_bounded(self):
        demand(len(self.strays) <= 2 * len(self.told["boots"]) + 4, "I14", "files that nobody needs: {}",
               self.strays)
        left = [n for n in os.listdir(self.spool / "work")]
        demand(len(left) <= len(self.told["boots"]), "I14", "spool/work has {}", left)

    def i18_exit_codes(self):
        """A step that said 0 has every record answered, or canceled as it was told to."""
        steps = [(words, code) for words, code in self.told["boots"]
                 if words.split()[0] in ("run", "cancel")]
        if steps and steps[-1][1] == 0 and self.told["boots"][-1][1] == 0:
            job = self.ledger.jobs[max(self.ledger.jobs)]
            good = {"done"} if steps[-1][0].split()[0] != "cancel" else {"done", "canceled"}
            demand(job.state in good, "I18", "`{}` ended with 0, and the job is {}", steps[-1][0], job.state)

    def check(self):
        self.i9_integrity()
        self.i7_journal()
        self.i11_sent_once()
        self.i12_intent()
        self.i2_bought_once()
        self.i10_settled()
        self.i1_final_states()
        self.i8_files()
        self.i3_answers_kept()
        self.i4_i5_results_and_sums()
        self.i6_outputs()
        self.i13_no_secret()
        self.i14_bounded()
        self.i18_exit_codes()


def judge(line):
    try:
        Case(json.loads(line)).check()
    except Broken as e:
        return str(e)
    except Exception as e:  # what cannot be read is broken too
        return f"the checker: {type(e).__name__}: {e} (line {e.__traceback__.tb_lineno})"
    return "ok"


if __name__ == "__main__":
    for told in sys.stdin:
        print(judge(told).replace("\n", " ")[:4000], flush=True)
