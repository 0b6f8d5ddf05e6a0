#!/usr/bin/python3
"""The release binary before an emulator over TLS, with system calls that fail or kill under strace: what the
fault program does to the objects, done to the installed program from outside. `make torture` runs it.

usage: tests/crash/black_box.py [--runs N] [--seed S]

Behaviour: as the fault program's (docs/reliability.md), over real sockets, threads, TLS and libcurl.
Stimulus:  one or two starts under `strace -f -e inject=CALL:signal=KILL|error=...:when=N`, N at random; then
           `recover`, then the command again.
Oracle:    tests/crash/program/checker.py. A failing run prints its seed; --runs 1 --seed S repeats it (as far
           as a real scheduler repeats anything).
"""
import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE / "program"), str(HERE.parent / "scenario")]
import checker  # noqa: E402
from harness import OFFPEAK, UNDER_STRACE, Emulator, clock, environment  # noqa: E402
from test_tls import TlsServer, make_authority  # noqa: E402

SECRET = "sk-black-box-0123456789abcdef"
SPEED = 5000
# Not Gemini: where it wants an upload to go, the emulator says by the name it was dialled by, without TLS.
MODELS = {"anthropic": "claude-haiku-4-5", "openai": "gpt-6-luna", "mistral": "mistral-large-2512"}
CALLS = [(call, how) for call in ("pwrite64", "fdatasync", "fsync", "ftruncate", "renameat2", "write", "openat",
                                  "sendto", "recvfrom", "connect", "unlink") for how in ("signal=KILL",)] + [
    ("pwrite64", "error=ENOSPC"), ("pwrite64", "error=EIO"), ("fdatasync", "error=EIO"), ("fsync", "error=EIO"),
    ("write", "error=ENOSPC"), ("ftruncate", "error=EIO"), ("renameat2", "error=EIO"), ("openat", "error=EMFILE"),
    ("connect", "error=ECONNREFUSED")]


def write_work(folder, model, records, batch):
    work = folder / "root" / "work"
    (work / "p").mkdir(parents=True)
    (work / "p" / "pipeline.yaml").write_text(f"""
pipeline: torture
about: questions
params:
  path: {{about: input, type: path, required: true}}
inputs:
  items: {{csv: "{{{{path}}}}"}}
records: SELECT id AS key, word FROM items
requests:
  ask: {{model: {model}, max_tokens: 200, user: "Say something about {{{{word}}}}", answer: a.json}}
outputs:
  - csv: answers.csv
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
  - jsonl: rows.jsonl
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
batch: {{requests: {batch}}}
""")
    (work / "p" / "a.json").write_text('{"type":"object","properties":{"text":{"type":"string"}},'
                                       '"required":["text"],"additionalProperties":false}')
    (work / "items.csv").write_text("id,word\n" + "".join(f"r{i},word{i}\n" for i in range(records)))
    (folder / "faults.jsonl").write_text("")
    return work


def run_once(seed, authority, folder):
    """What is wrong, "" when nothing is."""
    rng = random.Random(seed)
    provider = rng.choice(sorted(MODELS))
    records = rng.randint(2, 6)
    work = write_work(folder, MODELS[provider], records, rng.randint(1, 3))
    boots = []
    with Emulator(folder / "e", speed=SPEED) as emulator, open(folder / "out.txt", "wb") as out, \
            TlsServer(authority / "localhost.pem", emulator.url) as server:
        env = environment(
            OFFPEAK_STATE=folder / "root" / "state", HOME=work, OFFPEAK_CLOCK=clock(SPEED),
            OFFPEAK_CA_FILE=authority / "ca.pem", OFFPEAK_PRICES=HERE / "program" / "prices.yaml",
            ANTHROPIC_BASE_URL=server.url + "/anthropic", OPENAI_BASE_URL=server.url + "/openai/v1",
            MISTRAL_BASE_URL=server.url + "/mistral",
            **{f"{name}_API_KEY": SECRET for name in ("ANTHROPIC", "OPENAI", "MISTRAL")},
            **UNDER_STRACE)

        def start(words, before=()):
            done = subprocess.run([*before, OFFPEAK, *words], cwd=work, env=env, stdout=out, stderr=out,
                                  timeout=300)
            boots.append([words[0], done.returncode])
            return done.returncode

        run = ["run", "p", "--path", "items.csv"]
        for _ in range(rng.randint(1, 2)):
            call, how = rng.choice(CALLS)
            when = rng.randint(1, 400 if call == "pwrite64" else 60)
            start(rng.choice([run, run, ["recover"]]),
                  ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", f"trace={call}",
                   "-e", f"inject={call}:{how}:when={when}{rng.choice(['', '+'])}"])
        for _ in range(4):
            if start(run) == 0:
                break
    (folder / "emu").symlink_to(folder / "e" / "emulator")
    told = {"folder": str(folder), "provider": provider, "records": records, "sqlite": False, "secret": SECRET,
            "boots": boots}
    verdict = checker.judge(json.dumps(told))
    if boots[-1][1] != 0:
        return f"the last start ended with {boots[-1][1]}; {verdict}; {boots}"
    return "" if verdict == "ok" else f"{verdict}; {boots}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not shutil.which("strace") or not shutil.which("openssl"):
        sys.exit("black_box.py needs strace and openssl")
    failures = 0
    memory = "/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as base:
        base = pathlib.Path(base)
        make_authority(base)
        for seed in range(args.seed, args.seed + args.runs):
            folder = base / str(seed)
            folder.mkdir()
            wrong = run_once(seed, base, folder)
            failures += bool(wrong)
            if wrong:
                print(f"FAILED --seed {seed} --runs 1: {wrong}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{args.runs} runs of the release binary under strace, over TLS: {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
