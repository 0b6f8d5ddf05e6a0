"""The security bar (docs/design/security.md), as far as it shows from outside.

Behaviour: keys are nowhere but in the provider's request headers; a key file that others may read is
           refused; what a stranger's pipeline, a provider or a record says can neither read nor write
           elsewhere, nor steer a terminal or a spreadsheet; the program runs locked in.
Stimulus:  canary keys, a provider that quotes them; pipelines, answers and paths made to do harm; the
           process looked at while it waits.
Oracle:    every byte of every file, of /proc and of both outputs; the emulator's bill; the kernel's
           word in /proc/PID/status.
"""
import json
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import OFFPEAK, OTHERS, ROOT, Offpeak, clock  # noqa: E402
from wire import Proxy, write_pipeline  # noqa: E402

SPEED = 3000
CANARY = "canary-4cGZ7bQ1xW"
KEYS = {name + "_API_KEY": f"{CANARY}-{name.lower()}" for name in
        ("ANTHROPIC", "OPENAI", "GEMINI", "MISTRAL")}
UNIT = ROOT / "contrib" / "offpeak.service"


@pytest.fixture
def program(connected):
    def start(**options):
        offpeak = connected(speed=SPEED, **options)
        offpeak.env.update(KEYS, OFFPEAK_CLOCK=clock(SPEED))
        return offpeak
    return start


def one_line(offpeak, *args, expect=0, **env):
    (offpeak.cwd / "in.csv").write_text("id,word\n1,one\n2,two\n")
    return offpeak.run("run", "--input", "in.csv", "--model", "claude-haiku-4-5", "--prompt",
                       "Tell of {{word}}", "--output", "out.csv", *args, expect=expect, **env)


def files_with(folder, text):
    return [str(f) for f in sorted(folder.rglob("*")) if f.is_file() and text.encode() in f.read_bytes()]


# --- keys -------------------------------------------------------------------------------------


def test_keys_are_in_no_file_and_no_output(program, tmp_path):
    """Four providers, batches and realtime, every command that looks; one provider refuses the key and
    quotes it, in plain and after Bearer."""
    offpeak = program()
    said = []

    def run(*args, **env):
        done = offpeak.run(*args, **env)
        said.append(done.stdout + done.stderr)
        return done

    (offpeak.cwd / "in.csv").write_text("id,word\n1,one\n2,two\n")
    ask = ["run", "--input", "in.csv", "--prompt", "Tell of {{word}}", "-v"]
    for model in ("claude-haiku-4-5", *OTHERS.values()):
        for mode in ("batch", "realtime"):
            done = run(*ask, "--model", model, "--mode", mode, "--output", f"{model}-{mode}.csv", "--log",
                       "json")
            assert done.returncode == 0, done.stderr

    quoted = []

    def refuse(method, path, status, headers, body):
        quoted.append(path)
        said_key = f"{KEYS['ANTHROPIC_API_KEY']} is no key (Bearer {KEYS['ANTHROPIC_API_KEY']})"
        text = json.dumps({"type": "error", "error": {"type": "authentication_error", "message": said_key}})
        return 401, {"content-type": "application/json"}, text.encode()

    with Proxy(offpeak.emulator.url, refuse) as proxy:
        for mode in ("batch", "realtime"):
            run(*ask, "--model", "claude-opus-4-1", "--mode", mode, "--wait=20", "--output", "no.csv",
                ANTHROPIC_BASE_URL=proxy.url)
    assert quoted
    for command in (["status"], ["list"], ["list", "--batches"], ["show", "job-1"], ["cost"], ["doctor"],
                    ["doctor", "--json"], ["export", "job-1", "--output", "e.jsonl"], ["status", "--json"]):
        run(*command)
    assert [text for text in said if CANARY in text] == []
    assert files_with(tmp_path, CANARY) == []


class Waiting:
    """A run whose provider takes its time: a process to look at."""

    def __init__(self, offpeak, program=OFFPEAK, **options):
        (offpeak.cwd / "in.csv").write_text("id,word\n1,one\n")
        self.process = subprocess.Popen(
            [program, "run", "--input", "in.csv", "--model", "claude-haiku-4-5", "--prompt", "{{word}}",
             "--output", "out.csv"], cwd=offpeak.cwd, env=offpeak.env, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, **options)
        self.said = ""
        while "batch sent" not in self.said:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def proc(self, name):
        return pathlib.Path(f"/proc/{self.process.pid}/{name}").read_bytes()


@pytest.fixture
def slow(connected):
    """No fast clock: the batch stays in process."""
    offpeak = connected(speed=1)
    offpeak.env.update(KEYS)
    return offpeak


def test_keys_are_not_in_proc(slow):
    with Waiting(slow) as run:
        if os.geteuid() == 0:
            assert CANARY.encode() not in run.proc("environ")
            assert b"ANTHROPIC_API_KEY=" in run.proc("environ")  # it was there
        assert CANARY.encode() not in run.proc("cmdline")


def test_not_for_other_processes_and_no_core(emulator):
    """As somebody who is not root: /proc/PID is root's (PR_SET_DUMPABLE 0), and no core is left."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    with tempfile.TemporaryDirectory() as folder:
        if [p for p in pathlib.Path(folder).parents if not p.stat().st_mode & stat.S_IXOTH]:
            pytest.skip(f"{folder} is closed to others")
        offpeak = Offpeak(folder, emulator(speed=1))
        offpeak.env.update(KEYS, OFFPEAK_PRICES=shutil.copy(ROOT / "prices.yaml", folder))
        program = shutil.copy(OFFPEAK, folder)
        for path in [folder, offpeak.cwd]:
            os.chown(path, 65534, 65534)
        with Waiting(offpeak, program, user=65534, group=65534, extra_groups=[],
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited)) as run:
            assert os.stat(f"/proc/{run.process.pid}/environ").st_uid == 0
            limits = run.proc("limits").decode()
            assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.M)
            run.process.send_signal(signal.SIGABRT)
            _, status = os.waitpid(run.process.pid, 0)
            run.process.returncode = -signal.SIGABRT
            assert os.WTERMSIG(status) == signal.SIGABRT and not os.WCOREDUMP(status)


def test_a_key_file(program, tmp_path):
    offpeak = program()
    key = tmp_path / "key"
    key.write_text(KEYS["ANTHROPIC_API_KEY"] + "\n")
    del offpeak.env["ANTHROPIC_API_KEY"]
    key.chmod(0o640)
    done = one_line(offpeak, expect=1, ANTHROPIC_API_KEY_FILE=key)
    assert "may be read by others" in done.stderr and str(key) in done.stderr
    assert offpeak.emulator.bill() == []
    assert offpeak.run("doctor", ANTHROPIC_API_KEY_FILE=key).returncode == 1
    key.chmod(0o600)
    one_line(offpeak, ANTHROPIC_API_KEY_FILE=key)
    assert files_with(tmp_path, CANARY) == [str(key)]


def test_a_credential_of_systemd(program, tmp_path):
    offpeak = program()
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "ANTHROPIC_API_KEY").write_text(KEYS["ANTHROPIC_API_KEY"])
    del offpeak.env["ANTHROPIC_API_KEY"]
    one_line(offpeak, CREDENTIALS_DIRECTORY=tmp_path / "credentials")


def test_a_pipeline_cannot_have_the_key(program):
    """A param may name any variable of the environment; the keys are gone from it by then."""
    offpeak = program()
    folder = write_pipeline(offpeak.cwd / "thief", 1, 1)
    text = (folder / "pipeline.yaml").read_text().replace(
        "params:\n", "params:\n  stolen: {about: a word, env: ANTHROPIC_API_KEY, default: nothing}\n")
    (folder / "pipeline.yaml").write_text(text.replace("Say something", "Say {{stolen}}"))
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    assert "Say nothing about" in offpeak.run("show", "r000", expect=0).stdout
    assert files_with(offpeak.emulator.dir, CANARY) == []


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize("url,why", [
    ("http://example.com", "only https:// is spoken"),
    ("https://169.254.169.254", "link-local"),
    ("https://0.0.0.0", "unspecified"),
    ("https://[::ffff:169.254.169.254]", "link-local"),
    ("https://user:secret@example.com", "user name"),
    ("file:///etc/passwd", "must be https://"),
])
def test_addresses_that_get_nothing(program, url, why):
    offpeak = program()
    done = one_line(offpeak, "--wait=5", expect=None, ANTHROPIC_BASE_URL=url)
    assert done.returncode in (1, 3) and why in done.stderr, done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert offpeak.emulator.bill() == []


@pytest.mark.parametrize("where,line", [
    ("request", ", base_url: 'http://127.0.0.1:1'"), ("extra", "base_url: 'http://127.0.0.1:1'\n"),
    ("extra", "hooks: {after: [touch, done]}\n"), ("request", ", headers: {x-api-key: k}")])
def test_a_pipeline_names_no_address_and_no_program(offpeak, where, line):
    folder = write_pipeline(offpeak.cwd / "bad", 1, 1, **{where: line})
    done = offpeak.run("validate", folder, "--path", folder / "items.csv", expect=1)
    assert line.strip(" ,").split(":")[0] in done.stdout


def test_ids_of_a_provider_do_not_lead_elsewhere(program):
    offpeak = program()
    asked = []

    def change(method, path, status, headers, body):
        asked.append(path)
        if method == "POST" and path.endswith("/batches"):
            return status, headers, re.sub(rb'"id":\s*"msgbatch_[^"]*"', b'"id":"../../v1/files?x=1"', body)
        return None

    with Proxy(offpeak.emulator.url, change) as proxy:
        one_line(offpeak, "--wait=5", expect=None, ANTHROPIC_BASE_URL=proxy.url)
    assert asked and [path for path in asked if ".." in path or "files" in path] == []


def test_many_headers_are_refused(program):
    """Beyond 256 KiB of headers a reply is no reply."""
    offpeak = program()

    def change(method, path, status, headers, body):
        return status, dict(headers, **{f"x-{i}": "y" * 60000 for i in range(6)}), body

    with Proxy(offpeak.emulator.url, change) as proxy:
        done = one_line(offpeak, "--wait=5", expect=3, ANTHROPIC_BASE_URL=proxy.url)
    assert "header" in done.stderr.lower()


# --- what strangers write ---------------------------------------------------------------------

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"x\")"]
NUMBERS = ["-1", "+3", "-1.5e3", "0"]


@pytest.mark.parametrize("guard", ["on", "off"])
def test_cells_do_not_become_formulas(program, guard):
    texts = FORMULAS + NUMBERS + ["plain", "a=b"]
    offpeak = program(answers=[{"match": f"word{i} ", "json": {"text": t}} for i, t in enumerate(texts)])
    folder = write_pipeline(offpeak.cwd / "cells", len(texts), len(texts))
    text = (folder / "pipeline.yaml").read_text().replace("about {{word}}", "about {{word}} ")
    (folder / "pipeline.yaml").write_text(text.replace(
        "  - csv: answers.csv\n", f"  - csv: answers.csv\n    guard: {guard}\n"))
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    found = {row["id"]: row["text"] for row in offpeak.csv("answers.csv")}
    for i, text in enumerate(texts):
        guarded = guard == "on" and text in FORMULAS
        assert found[f"r{i:03}"].replace("\r\n", "\n") == ("'" if guarded else "") + text


EVIL = ["ATTACH 'x.db' AS x", "PRAGMA table_list", "SELECT * FROM pragma_database_list", "VACUUM INTO 'x.db'",
        "SELECT load_extension('x')", "SELECT readfile('/etc/passwd')", "SELECT writefile('x', 'y')",
        "SELECT edit('x')", "SELECT fts3_tokenizer('x')", "INSERT INTO items VALUES ('x', 'y')",
        "DELETE FROM items", "UPDATE items SET word = 'x'", "CREATE TABLE t(x)", "DROP TABLE items",
        "CREATE VIRTUAL TABLE t USING fts5(x)", "SELECT * FROM sqlite_dbpage", "REINDEX", "ANALYZE",
        "WITH x AS (SELECT 1) DELETE FROM items", "SELECT 1; DROP TABLE items", "BEGIN", "EXPLAIN SELECT 1",
        "SELECT * FROM generate_series(1, 3)"]


@pytest.mark.parametrize("where", ["records", "rows"])
def test_sql_only_reads(offpeak, where):
    folder = write_pipeline(offpeak.cwd / "evil", 1, 1)
    good = (folder / "pipeline.yaml").read_text()
    passed = []
    for sql in EVIL:
        text = json.dumps(sql)
        (folder / "pipeline.yaml").write_text(
            re.sub(rf"^( *){where}: .*", lambda m: f"{m[1]}{where}: {text}", good, flags=re.M))
        done = offpeak.run("validate", folder, "--path", folder / "items.csv")
        if done.returncode != 1 or where not in done.stdout + "pipeline.yaml" or "pipeline.yaml:" not in done.stdout:
            passed.append((sql, done.returncode, done.stdout))
    assert passed == []
    assert sorted(p.name for p in offpeak.cwd.iterdir()) == ["evil"]


def test_sql_that_never_ends_is_ended(program):
    """The job ends; the row is named and missing, and nothing else is."""
    offpeak = program()
    folder = write_pipeline(offpeak.cwd / "endless", 2, 2)
    endless = ("SELECT key AS id, (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) "
               "SELECT max(n) FROM c) AS text FROM answers WHERE key = 'r000' "
               "UNION ALL SELECT key, 'fine' FROM answers WHERE key = 'r001'")
    text = (folder / "pipeline.yaml").read_text()
    (folder / "pipeline.yaml").write_text(re.sub(r"rows: .*", f"rows: {json.dumps(endless)}", text))
    done = offpeak.run("run", folder, "--path", folder / "items.csv")
    assert "does one of them never end" in done.stderr
    assert offpeak.csv("answers.csv") == [{"id": "r001", "text": "fine"}]


def test_yaml_that_grows(offpeak):
    """Anchors and aliases make nine lines a billion; they are refused where they stand."""
    folder = write_pipeline(offpeak.cwd / "bomb", 1, 1)
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for one, other in zip("abcdefgh", "bcdefghi"):
        lines.append(f"{other}: &{other} [{', '.join(['*' + one] * 9)}]")
    (folder / "pipeline.yaml").write_text("\n".join(lines) + "\n")
    done = offpeak.run("validate", folder, expect=1)
    assert "anchors (&a) are not supported" in done.stdout
    (folder / "pipeline.yaml").write_text("pipeline: x\nabout: " + "[" * 100 + "]" * 100 + "\n")
    offpeak.run("validate", folder, expect=1)
    (folder / "pipeline.yaml").write_text("pipeline: x\nabout: " + "x" * (1 << 20) + "\n")
    offpeak.run("validate", folder, expect=1)


def test_prompts_have_an_end(program):
    """A template that grows beyond 4 MiB is an error before anything is bought."""
    offpeak = program()
    folder = write_pipeline(offpeak.cwd / "big", 1, 1)
    (folder / "items.csv").write_text("id,word\nr000," + "x" * 1000000 + "\n")
    text = (folder / "pipeline.yaml").read_text()
    (folder / "pipeline.yaml").write_text(text.replace("about {{word}}", "about" + " {{word}}" * 5))
    done = offpeak.run("run", folder, "--path", folder / "items.csv")
    assert done.returncode != 0 and "r000" in done.stdout + done.stderr
    assert offpeak.emulator.bill() == []


def test_deep_answers(program):
    """Nesting of 100,000 in an answer: invalid, and nothing breaks."""
    deep = "[" * 100000 + "]" * 100000
    offpeak = program(answers=[{"match": "word0", "text": deep}])
    folder = write_pipeline(offpeak.cwd / "deep", 2, 2)
    done = offpeak.run("run", folder, "--path", folder / "items.csv")
    assert done.returncode == 3, done.stderr
    assert [row["id"] for row in offpeak.csv("answers.csv")] == ["r001"]
    offpeak.run("doctor", "--audit", expect=0)


ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred \u009b31m \u202e \x07 end"


def on_a_terminal(offpeak, *args):
    """What a command writes to a terminal, both outputs."""
    parent, child = pty.openpty()
    process = subprocess.Popen([OFFPEAK, *args], cwd=offpeak.cwd, env=offpeak.env, stdin=child, stdout=child,
                               stderr=child, close_fds=True)
    os.close(child)
    written = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:
            break
        if not piece:
            break
        written += piece
    process.wait()
    os.close(parent)
    return written


def test_nothing_steers_the_terminal(program):
    """In an answer, in an error, in a batch's refusal; in what is said while running and looked at."""
    offpeak = program(answers=[{"match": "word0", "json": {"text": ESCAPES}},
                               {"match": "word1", "error": {"type": "invalid_request_error", "message": ESCAPES}}])
    folder = write_pipeline(offpeak.cwd / "escapes", 3, 3)
    seen = on_a_terminal(offpeak, "run", str(folder), "--path", str(folder / "items.csv"))
    for command in (["show", "r000"], ["show", "r001"], ["list", "--status", "failed"], ["status"], ["list"]):
        seen += on_a_terminal(offpeak, *command)
    assert b"owned" in seen and b"red" in seen  # the texts were shown
    own = re.compile(rb"\x1b\[[0-9;?]*[mKAJhl]|\x1b\[2K")
    assert b"\x1b[31mred" not in seen and b"\x1b[2J" not in seen
    assert b"\x1b" not in own.sub(b"", seen) and b"\x07" not in seen
    assert "\u009b".encode() not in seen


# --- files ------------------------------------------------------------------------------------


def test_files_are_private(program):
    """Whatever the umask; the outputs are the user's own and obey it."""
    offpeak = program()
    old = os.umask(0)
    try:
        one_line(offpeak)
        one_line(offpeak, "--mode", "realtime", "--fresh")
    finally:
        os.umask(old)
    found = {str(p): oct(p.lstat().st_mode & 0o7777) for p in [offpeak.state, *offpeak.state.rglob("*")]}
    assert len(found) > 8
    assert {p: m for p, m in found.items() if m != ("0o700" if pathlib.Path(p).is_dir() else "0o600")} == {}
    assert (offpeak.cwd / "out.csv").stat().st_mode & 0o777 == 0o666


PATHS = ["../escaped", "/tmp/escaped", "a/../../escaped", "..", ".", "a//b", "a/./b", "x\ny", "", "link",
         "folder-link/deeper"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "sqlite"])
def test_paths_of_rows_stay_inside(program, kind):
    """Each row names its file; what would leave the output's folder is refused and said, the others are
    written. Neither a link to a folder nor one to a file is followed."""
    names = [*PATHS, "good", "deeper/good"]
    offpeak = program(answers=[{"match": f"word{i} ", "json": {"text": n}} for i, n in enumerate(names)])
    folder = write_pipeline(offpeak.cwd / "paths", len(names), len(names))
    text = (folder / "pipeline.yaml").read_text().replace("about {{word}}", "about {{word}} ")
    target = "out/{{text}}/x." + {"sqlite": "db"}.get(kind, kind)
    more = "    table: t\n" if kind == "sqlite" else ""
    (folder / "pipeline.yaml").write_text(text.replace(
        "  - csv: answers.csv\n", f"  - {kind}: '{target}'\n{more}"))
    elsewhere = offpeak.cwd / "elsewhere"
    for made in (elsewhere, offpeak.cwd / "out"):
        made.mkdir()
    os.symlink(elsewhere, offpeak.cwd / "out" / "link")
    os.symlink(elsewhere, offpeak.cwd / "out" / "folder-link")
    before = {p for p in offpeak.cwd.parent.iterdir()}
    done = offpeak.run("run", folder, "--path", folder / "items.csv", "--wait=9000")
    assert "symbolic link" in done.stdout + done.stderr + offpeak.run("status", "job-1").stdout
    assert list(elsewhere.iterdir()) == []
    assert not pathlib.Path("/tmp/escaped").exists()
    assert {p for p in offpeak.cwd.parent.iterdir()} == before | {offpeak.state}
    outside = [p for p in offpeak.cwd.rglob("x.*") if (offpeak.cwd / "out") not in p.parents]
    assert outside == []
    for link in ("link", "folder-link"):
        (offpeak.cwd / "out" / link).unlink()
    offpeak.run("recover", "--wait=9000")
    written = {str(p.parent.relative_to(offpeak.cwd / "out")) for p in (offpeak.cwd / "out").rglob("x.*")}
    assert written == {"good", "deeper/good", "link", "folder-link/deeper"}


# --- locked in --------------------------------------------------------------------------------


def sandbox(offpeak, **env):
    told = {c["name"]: c for c in json.loads(offpeak.run("doctor", "--json", **env).stdout)["checks"]}
    return told["sandbox"]


def test_locked_in(slow):
    """While it waits for the provider: no new privileges, a filter of system calls."""
    told = sandbox(slow)
    if "sanitizer" in told["text"]:
        pytest.skip("a program with sanitizers is not locked in")
    if "this kernel has no" in told["text"]:
        pytest.skip(told["text"])
    assert told["state"] == "ok"
    with Waiting(slow) as run:
        status = dict(line.split(":\t", 1) for line in run.proc("status").decode().splitlines() if ":\t" in line)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    slow.env.update(OFFPEAK_SANDBOX="off", OFFPEAK_STATE=str(slow.state.with_name("another")))
    assert sandbox(slow) == {"name": "sandbox", "state": "warning", "text": "off: OFFPEAK_SANDBOX=off"}
    with Waiting(slow) as run:
        assert "Seccomp:\t0" in run.proc("status").decode()


def test_the_emulator_is_locked_in(emulator):
    server = emulator()
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    if "Seccomp:\t2" not in status:
        offpeak = Offpeak(server.dir)
        if sandbox(offpeak)["state"] != "ok":
            pytest.skip("no sandbox here")
    assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status


# --- the unit ---------------------------------------------------------------------------------


def test_unit():
    """The bar is an exposure of 1.5 or less; systemd-analyze gives tenths as a whole number."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15",
                           str(UNIT)], capture_output=True, text=True)
    if "Unknown" in done.stderr or "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at a file")
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= 1.5 and done.returncode == 0
