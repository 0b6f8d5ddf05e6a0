"""Sessions of a coding assistant, made up for the tests: the lines of a transcript as the real program
writes them, from a short script of what was said and done. Run by itself it writes the sample of
pipelines/conversation-narratives."""
import datetime
import json
import pathlib
import sys
import uuid

START = datetime.datetime(2026, 3, 2, 9, 0, tzinfo=datetime.timezone.utc)


class Session:
    """session.user("..."), .says("..."), .edit(path, old, new), .bash("...", "output", error=False), ..."""

    def __init__(self, name, cwd="/home/ada/projects/shop", branch="main", start=START):
        self.name, self.cwd, self.branch, self.at = name, cwd, branch, start
        self.lines, self.calls = [], 0

    def add(self, kind, content, **more):
        self.at += datetime.timedelta(seconds=20)
        uid = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}-{len(self.lines)}"))
        message = {"role": kind, "content": content}
        if kind == "assistant":
            message |= {"id": f"msg_{len(self.lines)}", "type": "message", "model": "claude-sonnet-5-5"}
        self.lines.append(json.dumps({
            "parentUuid": None, "isSidechain": False, "userType": "external", "cwd": self.cwd,
            "sessionId": self.name, "version": "2.0.0", "gitBranch": self.branch, "type": kind,
            "message": message, "uuid": uid,
            "timestamp": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **more},
            ensure_ascii=False))
        return self

    def user(self, text, **more):
        return self.add("user", text, **more)

    def says(self, text):
        return self.add("assistant", [{"type": "text", "text": text}])

    def tool(self, name, given, output, error=False):
        self.calls += 1
        call = f"toolu_{self.calls:04}"
        self.add("assistant", [{"type": "tool_use", "id": call, "name": name, "input": given}])
        return self.add("user", [{"type": "tool_result", "tool_use_id": call, "content": output,
                                  "is_error": error}])

    def edit(self, path, old, new):
        return self.tool("Edit", {"file_path": path, "old_string": old, "new_string": new}, "ok")

    def write(self, path, text):
        return self.tool("Write", {"file_path": path, "content": text}, "ok")

    def read(self, path, text="1\tsource"):
        return self.tool("Read", {"file_path": path}, text)

    def bash(self, command, output="", error=False):
        return self.tool("Bash", {"command": command}, output, error)

    def summary(self, text):
        self.lines.append(json.dumps({"type": "summary", "summary": text, "leafUuid": "x"}))
        return self

    def text(self):
        return "".join(line + "\n" for line in self.lines)

    def save(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.jsonl"
        path.write_text(self.text(), encoding="utf-8")
        return path


def sample():
    """(folder, session) of the shipped sample: four sessions in two projects."""
    s = Session("6f1c2a60-5a0e-4d0b-9a0e-0c1f6c1d7a01")
    s.summary("Container killed while importing products")
    s.user("The import container gets killed after a few minutes. Can you find out why it runs out of memory?")
    s.says("I will look at the limits first.")
    s.read("/home/ada/projects/shop/docker-compose.yaml", "1\tservices:\n2\t  importer:")
    s.bash("docker stats --no-stream importer", "importer 1.98GiB / 2GiB 99.0%")
    s.bash("docker compose up importer", "importer exited with code 137\nError: container killed: out of memory", True)
    s.says("The importer reads the whole product file at once.")
    s.edit("/home/ada/projects/shop/importer/load.py", "rows = list(reader)",
           "for batch in batched(reader, 500):\n    load(batch)\n    db.commit()")
    s.edit("/home/ada/projects/shop/docker-compose.yaml", "mem_limit: 2g", "mem_limit: 1g")
    s.bash("docker compose up importer", "imported 120000 products\nimporter exited with code 0")
    s.bash("pytest -q importer", "12 passed in 3.10s")
    s.says("Fixed: the importer now works in batches of 500 and stays below 300 MB, so the limit can be lower.")
    yield "-home-ada-projects-shop", s

    s = Session("6f1c2a60-5a0e-4d0b-9a0e-0c1f6c1d7a02", start=START + datetime.timedelta(days=2))
    s.user("Customers are logged out after every deploy. Keep their sessions, please.")
    s.tool("Grep", {"pattern": "SECRET_KEY"}, "settings.py:14: SECRET_KEY = secrets.token_hex()")
    s.says("The secret key is made anew at each start, so every session cookie becomes invalid.")
    s.edit("/home/ada/projects/shop/settings.py", "SECRET_KEY = secrets.token_hex()",
           "SECRET_KEY = os.environ[\"SHOP_SECRET_KEY\"]")
    s.bash("pytest -q tests/test_login.py", "E   KeyError: 'SHOP_SECRET_KEY'\n1 failed, 3 passed in 0.90s", True)
    s.edit("/home/ada/projects/shop/tests/conftest.py", "", "os.environ.setdefault(\"SHOP_SECRET_KEY\", \"test\")\n")
    s.bash("pytest -q tests/test_login.py", "4 passed in 0.80s")
    s.says("Resolved: the key comes from the environment, and sessions survive a deploy.")
    yield "-home-ada-projects-shop", s

    s = Session("6f1c2a60-5a0e-4d0b-9a0e-0c1f6c1d7a03", "/home/ada/projects/notes", "search",
                START + datetime.timedelta(days=5))
    s.user("Searching the notes takes four seconds with 20,000 of them. Make it fast without a server.")
    s.read("/home/ada/projects/notes/search.c")
    s.write("/home/ada/projects/notes/index.sql", "CREATE VIRTUAL TABLE note_search USING fts5(title, body);")
    s.edit("/home/ada/projects/notes/search.c", "WHERE body LIKE ?", "WHERE note_search MATCH ? ORDER BY rank")
    s.bash("make test", "search.c:41: error: 'rank' undeclared\nmake: *** [search.o] Error 1", True)
    s.edit("/home/ada/projects/notes/search.c", "ORDER BY rank", "ORDER BY bm25(note_search)")
    s.bash("make test", "all tests passed")
    s.says("Now works in 6 ms: the notes are in an FTS5 index, kept up to date by triggers.")
    s.user("Great. And what does bm25 do?")
    s.says("It ranks rows by how often the words occur, weighed by how rare they are.")
    yield "-home-ada-projects-notes", s

    s = Session("6f1c2a60-5a0e-4d0b-9a0e-0c1f6c1d7a04", "/home/ada/projects/notes", "sync",
                START + datetime.timedelta(days=9))
    s.user("<command-name>/clear</command-name>")
    s.user("Two devices that sync at the same time lose notes. Where could that come from?")
    s.tool("Glob", {"pattern": "sync/**/*.c"}, "sync/merge.c\nsync/clock.c")
    s.read("/home/ada/projects/notes/sync/merge.c")
    s.bash("build/sync_race --seeds 200", "seed 17: FAILED: note 'b' is gone")
    s.says("Both devices write the same revision number, and the later one replaces the earlier without a look.")
    yield "-home-ada-projects-notes", s


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    for folder, session in sample():
        session.save(root / folder)
