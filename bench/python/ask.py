#!/usr/bin/env python3
"""The realtime lane as one would write it with the standard library: threads that post and read, one
connection each; the answers go into a file, which is not flushed.

    ask.py URL COUNT THREADS BODY-FILE OUT
"""
import http.client
import json
import sys
import threading
import urllib.parse

url, count, threads, body, out = sys.argv[1:]
where = urllib.parse.urlsplit(url)
with open(body, "rb") as f:
    body = f.read()
numbers = iter(range(int(count)))
lock = threading.Lock()


def work(file):
    connection = http.client.HTTPConnection(where.netloc)
    while True:
        with lock:
            if next(numbers, None) is None:
                return
        connection.request("POST", where.path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            sys.exit(f"{reply.status}: {text[:200]}")
        answer = json.loads(json.loads(text)["content"][0]["text"])
        with lock:
            file.write(json.dumps(answer) + "\n")


with open(out, "w", encoding="utf-8") as f:
    workers = [threading.Thread(target=work, args=(f,)) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
