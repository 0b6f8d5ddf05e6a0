"""What the checker reads from a ledger. Every SQL over its tables is here, so that a change of how the
ledger stores something changes this file and no other."""
import collections
import sqlite3

Job = collections.namedtuple("Job", "id state records requests done failed canceled reserved spent tokens")
Record = collections.namedtuple("Record", "id job key")
Request = collections.namedtuple("Request", "id job record state batch same_as buy_no")
Batch = collections.namedtuple(
    "Batch", "id job state epoch nonce count lo hi file sha256 provider_id spent extra tokens ok failed "
             "absent reserved twins")
Move = collections.namedtuple("Move", "batch epoch at_ms from_state to_state evidence")
File = collections.namedtuple("File", "batch part file bytes sha256 document")
Result = collections.namedtuple("Result", "request batch kind valid part offset length microusd tokens")
Outbox = collections.namedtuple("Outbox", "job output committed delivered")

TOKENS = "tokens_input, tokens_write_5m, tokens_write_1h, tokens_read, tokens_output"


class Ledger:
    """Everything in one go: the ledgers of schedules are small."""

    def __init__(self, path):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            self.problems = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
            words = {(kind, code): text for kind, code, text in
                     db.execute("SELECT kind, code, text FROM word")}
            self.tag, self.suspect = db.execute("SELECT tag, suspect FROM identity").fetchone()
            self.jobs = {row[0]: Job(*row[:9], tuple(row[9:])) for row in db.execute(
                "SELECT id, state, records, requests, done, failed, canceled, reserved_microusd,"
                f" spent_microusd, {TOKENS} FROM job")}
            self.records = {row[0]: Record(*row) for row in db.execute(
                "SELECT id, job_id, key FROM record")}
            self.requests = {row[0]: Request(row[0], row[1], row[2], words["request", row[3]], *row[4:])
                             for row in db.execute(
                "SELECT id, job_id, record_id, state, batch_id, same_as, buy_no FROM request")}
            self.batches = {row[0]: Batch(*row[:13], tuple(row[13:18]), *row[18:]) for row in db.execute(
                "SELECT id, job_id, state, epoch, nonce, count, request_lo, request_hi, file, sha256,"
                f" provider_id, spent_microusd, extra_microusd, {TOKENS}, ok, failed, absent,"
                " reserved_microusd, twins FROM batch")}
            self.journal = [Move(*row) for row in db.execute(
                "SELECT batch_id, epoch, at_ms, from_state, to_state, evidence FROM journal ORDER BY batch_id, epoch")]
            self.files = {row[:2]: File(*row) for row in db.execute(
                "SELECT batch_id, part, file, bytes, sha256, document FROM result_file")}
            self.results = {row[:2]: Result(row[0], row[1], words["result", row[2]], bool(row[3]),
                                            *row[4:8], tuple(row[8:])) for row in db.execute(
                "SELECT request_id, batch_id, class, valid, part, offset, len, microusd,"
                f" {TOKENS} FROM result")}
            self.outboxes = [Outbox(*row) for row in db.execute(
                "SELECT job_id, output, committed, delivered FROM outbox")]
        finally:
            db.close()
