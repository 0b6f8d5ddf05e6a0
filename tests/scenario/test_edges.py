"""The limits of a batch, met exactly.

Behaviour: what fills a batch file to its last allowed byte or line goes into one batch; one byte or
           one line more makes a second batch. The provider takes each.
Oracle:    the length of the files in the spool; the emulator, which counts bytes and lines for itself
           and refuses one too many (shown first); its bill.

The real sizes (200 MiB, 256 MB, 50,000 and 100,000 requests) take a gigabyte of disk:
OFFPEAK_REAL_SIZE=1 runs them, in four minutes. tests/unit/engine/test_pack_edges.c has the same edges, and Gemini's 2 GB,
without a file.
"""
import hashlib
import http.client
import json
import os
import pathlib
import sys
import tempfile
import time
import urllib.parse

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import MODELS, Emulator, Offpeak, clock  # noqa: E402
from wire import write_pipeline  # noqa: E402


def plan(folder):
    """Planned and packed, with a cap that lets nothing go: the lengths of the batch files."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        offpeak = Offpeak(fresh, None, **{f"{name}_API_KEY": "k" for name in
                                          ("OPENAI", "GEMINI", "MISTRAL")})
        offpeak.run("run", folder, "--path", folder / "items.csv", "--max-cost", "0.000001", expect=3)
        return look(offpeak)


def look(offpeak):
    rows = offpeak.ledger("SELECT file, bytes, count FROM batch ORDER BY id")
    for file, size, _ in rows:
        assert (offpeak.state / "spool" / file).stat().st_size == size
    return [(size, count) for _, size, count in rows]


@pytest.mark.parametrize("provider", MODELS)
def test_to_the_last_byte_and_line(tmp_path, provider):
    folder = write_pipeline(tmp_path / "edge", 7, 100, model=MODELS[provider])
    yaml = folder / "pipeline.yaml"
    text = yaml.read_text()
    (whole, _), = plan(folder)
    for limit, batches in ((f"bytes: {whole}", [7]), (f"bytes: {whole - 1}", [6, 1]),
                           ("requests: 7", [7]), ("requests: 6", [6, 1])):
        yaml.write_text(text.replace("requests: 100", limit))
        made = plan(folder)
        assert [count for _, count in made] == batches, (limit, made)
        assert all(size <= whole for size, _ in made)
    # one byte less makes room again
    yaml.write_text(text.replace("requests: 100", f"bytes: {whole - 1}"))
    items = folder / "items.csv"
    items.write_text(items.read_text().replace("word6", "wor6"))
    assert plan(folder) == [(whole - 1, 7)]


# --- real size ------------------------------------------------------------------------------------

real_size = pytest.mark.skipif(os.environ.get("OFFPEAK_REAL_SIZE") != "1",
                               reason="needs OFFPEAK_REAL_SIZE=1, four minutes and 1 GB of disk")
BYTES = {"openai": 209_715_200, "anthropic": 256_000_000}
LINES = {"openai": 50_000, "anthropic": 100_000}
CHAT = {"model": "gpt-4.1", "messages": [{"role": "user", "content": ""}]}
MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": ""}]}


def send(url, path, headers, parts, length):
    to = urllib.parse.urlsplit(url)
    upstream = http.client.HTTPConnection(to.hostname, to.port, timeout=300)
    upstream.putrequest("POST", to.path + path)
    for name, value in {**headers, "content-length": str(length)}.items():
        upstream.putheader(name, value)
    upstream.endheaders()
    for part in parts:
        upstream.send(part)
    reply = upstream.getresponse()
    return reply.status, json.loads(reply.read())


def line(provider, i, content):
    if provider == "openai":
        body = dict(CHAT, messages=[{"role": "user", "content": content}])
        return {"custom_id": f"id-{i:06}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return {"custom_id": f"id-{i:06}",
            "params": dict(MESSAGE, messages=[{"role": "user", "content": content}])}


def batch_file(provider, total=None, count=None):
    """As pieces: so many requests, or so many bytes."""
    pack = {"openai": (b"", b"\n", b"\n"), "anthropic": (b'{"requests":[', b",", b"]}")}[provider]

    def one(i, n):
        return json.dumps(line(provider, i, "x" * n), separators=(",", ":")).encode()
    count = count or 2000
    room = (total - len(pack[0]) - len(pack[2]) - (count - 1) * len(pack[1])
            - count * len(one(0, 0))) if total else 0
    sizes = [room // count] * count
    sizes[-1] += room - sum(sizes)
    pieces = [pack[0]]
    for i, n in enumerate(sizes):
        pieces.append((pack[1] if i else b"") + one(i, n))
    return pieces + [pack[2]]


def verdict(emulator, provider, pieces):
    """What the emulator says of a batch of this file: None, or the error."""
    length = sum(map(len, pieces))
    if provider == "anthropic":
        status, reply = send(emulator.url, "/v1/messages/batches", {
            "content-type": "application/json", "x-api-key": "k", "anthropic-version": "2023-06-01"},
            pieces, length)
        return None if status == 200 else (status, reply["error"]["type"])
    head = (b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
            b'Content-Disposition: form-data; name="file"; filename="f.jsonl"\r\n\r\n')
    tail = b"\r\n--b--\r\n"
    key = {"authorization": "Bearer k"}
    status, reply = send(emulator.url, "/openai/v1/files", {
        **key, "content-type": "multipart/form-data; boundary=b"}, [head, *pieces, tail],
        len(head) + length + len(tail))
    assert status == 200 and reply["bytes"] == length
    body = json.dumps({"input_file_id": reply["id"], "endpoint": "/v1/chat/completions",
                       "completion_window": "24h"}).encode()
    status, batch = send(emulator.url, "/openai/v1/batches", {
        **key, "content-type": "application/json"}, [body], len(body))
    to = urllib.parse.urlsplit(emulator.url)
    deadline = time.time() + 600  # the batch before is answered first, and it is large
    while batch["status"] == "validating":
        assert time.time() < deadline
        time.sleep(0.1)
        upstream = http.client.HTTPConnection(to.hostname, to.port, timeout=60)
        upstream.request("GET", "/openai/v1/batches/" + batch["id"], headers=key)
        batch = json.loads(upstream.getresponse().read())
    return batch["errors"]["data"][0]["code"] if batch["status"] == "failed" else None


@real_size
@pytest.mark.parametrize("provider", BYTES)
def test_the_emulator_counts_for_itself(tmp_path, provider):
    """Oracle: the limits as documented, files made here."""
    too_large = {"openai": "file_too_large", "anthropic": (413, "request_too_large")}[provider]
    too_many = {"openai": "too_many_tasks", "anthropic": (400, "invalid_request_error")}[provider]
    with Emulator(tmp_path, speed=3000) as emulator:
        limit, lines = BYTES[provider], LINES[provider]
        assert verdict(emulator, provider, batch_file(provider, total=limit)) is None
        assert verdict(emulator, provider, batch_file(provider, total=limit + 1)) == too_large
        assert verdict(emulator, provider, batch_file(provider, count=lines)) is None
        assert verdict(emulator, provider, batch_file(provider, count=lines + 1)) == too_many


def write_items(folder, sizes):
    with open(folder / "items.csv", "w", encoding="utf-8") as f:
        f.write("id,word\n")
        for i, n in enumerate(sizes):
            # each its own, so that none is asked once for two
            f.write(f"r{i:06},{hashlib.sha256(str(i).encode()).hexdigest()[:12]}{'x' * n}\n")


def sent(emulator, offpeak):
    """Bytes and requests of each batch, all of which the emulator took and answered."""
    rows = offpeak.ledger("SELECT bytes, count, provider_id FROM batch ORDER BY id")
    billed = {}
    for entry in emulator.bill():
        if entry["state"] == "succeeded":
            billed[entry["batch"]] = billed.get(entry["batch"], 0) + 1
    assert [billed[i] for _, _, i in rows] == [count for _, count, _ in rows]
    return [(size, count) for size, count, _ in rows]


@real_size
@pytest.mark.parametrize("provider", BYTES)
def test_real_bytes(tmp_path, provider):
    """One byte under the limit and the limit itself are one batch, one byte over is two."""
    records, limit = 2000, BYTES[provider]
    folder = write_pipeline(tmp_path / "edge", 0, 100_000, model=MODELS[provider])
    room = limit // records - 1000
    write_items(folder, [room] * records)
    (size, count), = plan(folder)
    assert count == records and size < limit
    # Made answers repeat the prompt's words, which are longer than any max_tokens here.
    with Emulator(tmp_path, speed=3000, answers=[{"json": {"text": "long"}}]) as emulator:
        for over in (-1, 0, 1):
            offpeak = Offpeak(tmp_path / f"over{over}", emulator, OFFPEAK_CLOCK=clock(3000))
            write_items(folder, [room] * (records - 1) + [room + limit + over - size])
            offpeak.run("run", folder, "--path", folder / "items.csv", expect=0, timeout=600)
            made = sent(emulator, offpeak)
            if over <= 0:
                assert made == [(limit + over, records)]
            else:
                assert [count for _, count in made] == [records - 1, 1] and made[0][0] < limit
            for path in (offpeak.state / "spool").rglob("*"):
                if path.is_file():
                    path.unlink()


@real_size
@pytest.mark.parametrize("provider", LINES)
def test_real_lines(tmp_path, provider):
    folder = write_pipeline(tmp_path / "edge", 0, 10 ** 6, model=MODELS[provider])
    with Emulator(tmp_path, speed=3000) as emulator:
        for over in (0, 1):
            offpeak = Offpeak(tmp_path / f"over{over}", emulator, OFFPEAK_CLOCK=clock(3000))
            write_items(folder, [0] * (LINES[provider] + over))
            offpeak.run("run", folder, "--path", folder / "items.csv", expect=0, timeout=600)
            assert [count for _, count in sent(emulator, offpeak)] == \
                [LINES[provider]] + [1] * over
