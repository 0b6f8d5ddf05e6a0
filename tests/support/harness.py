"""What the scenario and crash tests share: running the program, an emulator beside it, and reading
what both left behind. Shares no code with the program."""
import collections
import csv
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import time

# A model of each provider; OTHERS: beside Anthropic, whose own tests are the others.
OTHERS = {"openai": "gpt-6-luna", "gemini": "gemini-3.6-flash", "mistral": "mistral-large-2512"}
MODELS = {"anthropic": "claude-haiku-4-5", **OTHERS}

ROOT = pathlib.Path(__file__).resolve().parents[2]
OFFPEAK = os.environ.get("OFFPEAK", str(ROOT / "build" / "offpeak"))
# For a program under strace: LeakSanitizer does not work there, and says so by dying.
UNDER_STRACE = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
SHARED = ROOT.parent / "shared"


def environment(**extra):
    """The caller's environment without anything that would change what offpeak does."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("OFFPEAK_", "ANTHROPIC_", "OPENAI_", "GOOGLE_", "GEMINI_", "MISTRAL_",
                                "AWS_", "DYNAMODB_", "PG")) and k != "DATABASE_URL"}
    env["OFFPEAK_BALLAST"] = "0"  # 64 MiB in each of hundreds of state folders
    # A system call that the list of src/base/sandbox.c lacks fails the test that needs it.
    env["OFFPEAK_SANDBOX"] = os.environ.get("OFFPEAK_SANDBOX", "kill")
    env.update({k: str(v) for k, v in extra.items() if v is not None})
    return env


class Emulator:
    """`offpeak emulate` on a free port, on a clock that runs `speed` times as fast."""

    def __init__(self, folder, speed=1000, faults=None, answers=None):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.args = ["emulate", "--listen", "127.0.0.1:0", "--dir", str(self.dir / "emulator"),
                     "--speed", str(speed)]
        if faults:
            path = self.dir / "faults.jsonl"
            path.write_text("".join(json.dumps(f) + "\n" for f in faults))
            self.args += ["--faults", str(path)]
        if answers:
            path = self.dir / "answers.jsonl"
            path.write_text("".join(json.dumps(a) + "\n" for a in answers))
            self.args += ["--answers", str(path)]
        self.process = None
        self.url = None

    def __enter__(self):
        self.process = subprocess.Popen([OFFPEAK, *self.args], stdout=subprocess.PIPE,
                                        stderr=open(self.dir / "emulator.log", "ab"),
                                        env=environment(), text=True)
        line = self.process.stdout.readline()
        match = re.match(r"listening on (\S+)", line)
        assert match, f"the emulator said {line!r}: {(self.dir / 'emulator.log').read_text()}"
        self.url = match.group(1)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def bill(self):
        path = self.dir / "emulator" / "bill.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def bought(self):
        """How often each request content was accepted and then succeeded."""
        hashes = {(b["batch"], b["custom_id"]): b.get("hash") for b in self.bill()
                  if b["state"] == "accepted"}
        return collections.Counter(hashes[(b["batch"], b["custom_id"])] for b in self.bill()
                                   if b["state"] == "succeeded")

    def accepted(self):
        return collections.Counter(b.get("hash") for b in self.bill() if b["state"] == "accepted")


class Offpeak:
    """The program with a state folder and a working folder of its own."""

    def __init__(self, folder, emulator=None, **env):
        self.cwd = pathlib.Path(folder) / "work"
        self.state = pathlib.Path(folder) / "state"
        self.cwd.mkdir(parents=True, exist_ok=True)
        self.env = environment(
            OFFPEAK_STATE=self.state, HOME=folder,
            ANTHROPIC_API_KEY="sk-ant-test-0123456789", **env)
        if emulator:
            self.env["ANTHROPIC_BASE_URL"] = emulator.url
            for name in ("OPENAI", "GEMINI", "MISTRAL"):
                self.env[f"{name}_API_KEY"] = "key-of-the-test"
            self.env["OPENAI_BASE_URL"] = emulator.url + "/openai/v1"
            self.env["GOOGLE_GEMINI_BASE_URL"] = emulator.url + "/gemini"
            self.env["MISTRAL_BASE_URL"] = emulator.url + "/mistral"

    def run(self, *args, timeout=120, expect=None, **env):
        full = dict(self.env)
        full.update({k: str(v) for k, v in env.items() if v is not None})
        done = subprocess.run([OFFPEAK, *map(str, args)], cwd=self.cwd, env=full, text=True,
                              capture_output=True, timeout=timeout)
        if expect is not None:
            assert done.returncode == expect, \
                f"{args}: exit {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args, **kwargs):
        done = self.run(*args, "--json", **kwargs)
        return json.loads(done.stdout)

    def ledger(self, sql, *values):
        db = sqlite3.connect(f"file:{self.state / 'ledger.db'}?mode=ro", uri=True)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    def csv(self, name):
        with open(self.cwd / name, newline="", encoding="utf-8") as f:
            return list(csv.DictReader(f))


def clock(speed):
    """A value of OFFPEAK_CLOCK: time runs so many times as fast from now on."""
    return f"{speed}@{int(time.time() * 1000)}"
