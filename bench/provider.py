#!/usr/bin/env python3
"""The provider's side of `make bench`: takes any batch, says that it has ended once every article was
asked about, and answers it with the lines of a result file, under the custom_ids that were sent. Each
path prefix is an account of its own; the n-th request sent to it is answered with the line of the n-th
article.

    provider.py RESULTS     prints its port, then serves until it is ended
"""
import array
import datetime
import http.server
import json
import mmap
import random
import re
import sys

REQUEST = re.compile(rb'\{"custom_id":"([A-Za-z0-9_-]{1,64})","params":')
HEAD = b'{"custom_id":"'
KEY = re.compile(rb'\{"custom_id":"article-(\d{9})"')
LINES = 500  # written at once


class Results:
    """Where each article's answer lies in the file."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        found = {}
        at = 0
        while at < len(self.bytes):
            end = self.bytes.find(b"\n", at) + 1
            key = KEY.match(self.bytes, at)
            found[int(key[1])] = (key.end() - 1, end)
            at = end
        self.begin = array.array("q", (found[n][0] for n in range(len(found))))
        self.end = array.array("q", (found[n][1] for n in range(len(found))))

    def tail(self, number):
        """The line from behind its custom_id on."""
        return self.bytes[self.begin[number]:self.end[number]]


class Account:
    def __init__(self):
        self.requests = 0
        self.batches = []  # (object when ended, first article, custom_ids)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    results, accounts = None, {}

    def log_message(self, *_):
        pass

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def place(self):
        """The account, and what of the path follows /v1/messages/batches."""
        prefix, _, rest = self.path.partition("?")[0].partition("/v1/messages/batches")
        if prefix not in self.accounts:
            self.accounts.clear()  # of an earlier run
            self.accounts[prefix] = Account()
        return self.accounts[prefix], prefix, [p for p in rest.split("/") if p]

    def do_POST(self):
        account, prefix, rest = self.place()
        left = int(self.headers["Content-Length"])
        ids, carry = [], b""
        while left:
            block = self.rfile.read(min(left, 1 << 20))
            if not block:
                return  # the sender kept its last byte, or died
            left -= len(block)
            carry += block
            last = 0
            for match in REQUEST.finditer(carry):
                ids.append(match[1])
                last = match.end()
            carry = carry[max(last, len(carry) - 120):]
        if rest:
            return self.reply(404, {"type": "error", "error": {"type": "not_found_error", "message": "no"}})
        now = datetime.datetime.now(datetime.timezone.utc)
        name = f"msgbatch_{len(account.batches):024d}"
        batch = {
            "id": name, "type": "message_batch", "processing_status": "in_progress",
            "request_counts": {"processing": len(ids), "succeeded": 0, "errored": 0, "canceled": 0,
                               "expired": 0},
            "ended_at": None, "created_at": now.isoformat(),
            "expires_at": (now + datetime.timedelta(days=1)).isoformat(),
            "archived_at": None, "cancel_initiated_at": None, "results_url": None,
        }
        self.reply(200, batch)
        account.batches.append((dict(
            batch, processing_status="ended", ended_at=now.isoformat(),
            request_counts=dict(batch["request_counts"], processing=0, succeeded=len(ids)),
            results_url=f"http://{self.headers['Host']}{prefix}/v1/messages/batches/{name}/results"),
            account.requests, ids))
        account.requests += len(ids)

    def shown(self, account, batch):
        """All batches end together, so that applying them is one stretch of work."""
        if account.requests == len(self.results.begin):
            return batch
        return dict(batch, processing_status="in_progress", ended_at=None, results_url=None)

    def do_GET(self):
        account, _, rest = self.place()
        if not rest:
            data = [self.shown(account, batch) for batch, _, _ in reversed(account.batches)]
            return self.reply(200, {"data": data, "has_more": False,
                                    "first_id": data[0]["id"] if data else None,
                                    "last_id": data[-1]["id"] if data else None})
        batch, first, ids = account.batches[int(rest[0].rpartition("_")[2])]
        if len(rest) == 1:
            return self.reply(200, self.shown(account, batch))
        self.send_results(first, ids)

    def send_results(self, first, ids):
        order = list(range(len(ids)))
        random.Random(first).shuffle(order)
        begin, end = self.results.begin, self.results.end
        total = sum(len(HEAD) + len(ids[i]) + end[first + i] - begin[first + i] for i in order)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-jsonl")
        self.send_header("Content-Length", str(total))
        self.end_headers()
        for at in range(0, len(order), LINES):
            self.wfile.write(b"".join(HEAD + ids[i] + self.results.tail(first + i)
                                      for i in order[at:at + LINES]))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Handler.results = Results(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
