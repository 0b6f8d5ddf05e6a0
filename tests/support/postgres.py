"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, with a port of this machine and a
socket in that folder. It is asked through psql, so that no Python driver is needed."""
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

PASSWORD = "secret-of-the-test"


def find(name):
    """The newest of Debian's (postgresql-15), else the one on the PATH, else None."""
    debian = sorted(glob.glob(f"/usr/lib/postgresql/[0-9]*/bin/{name}"),
                    key=lambda path: int(path.split("/")[4]))
    return debian[-1] if debian else shutil.which(name)


def account():
    """Who the server runs as: it refuses to be root. None: who we are."""
    if os.geteuid():
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def missing():
    """What keeps a server from being started; None: nothing."""
    for name in ("initdb", "postgres", "psql"):
        if not find(name):
            return f"{name} is not installed (Debian: postgresql-15)"
    return None


class Postgres:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="offpeak-postgres-"))
        self.data = self.dir / "data"
        self.process = None
        self.databases = 0
        self.account = account()
        if self.account:
            os.chown(self.dir, self.account.pw_uid, self.account.pw_gid)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        (self.dir / "password").write_text(PASSWORD + "\n")
        # The port wants the password, the socket none: both ways in are used.
        done = subprocess.run(
            [find("initdb"), "-D", self.data, "-U", "offpeak", "-E", "UTF8", "--locale=C", "-N",
             "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={self.dir / 'password'}"],
            capture_output=True, text=True, **self.options())
        assert done.returncode == 0, done.stdout + done.stderr
        # Settings that would show where the program relies on the usual ones.
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as f:
            f.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nfsync = off\n"
                    f"unix_socket_directories = '{self.dir}'\nmax_connections = 20\n"
                    "shared_buffers = 16MB\ntimezone = 'Asia/Kolkata'\ndatestyle = 'German'\n"
                    "extra_float_digits = 0\nbytea_output = 'escape'\nsynchronous_commit = off\n")

    def options(self):
        user = {"user": self.account.pw_uid, "group": self.account.pw_gid,
                "extra_groups": []} if self.account else {}
        return {"cwd": self.dir, **user}

    def start(self):
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen([find("postgres"), "-D", self.data], stdout=log,
                                            stderr=log, **self.options())
        while subprocess.run(self.psql("postgres", "SELECT 1"), capture_output=True).returncode:
            assert self.process.poll() is None, (self.dir / "log").read_text()

    def stop(self):
        """At once: connections break in the middle of what they do."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(60)

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.dir)

    def psql(self, database, sql):
        return [find("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.dir),
                "-p", str(self.port), "-U", "offpeak", "-c", sql, database]

    def sql(self, database, sql):
        done = subprocess.run(self.psql(database, sql), capture_output=True, text=True)
        assert done.returncode == 0, f"{sql}: {done.stderr}"
        return done.stdout

    def script(self, database, text):
        """Statements too long for a command line."""
        done = subprocess.run(self.psql(database, "")[:-3] + ["-f", "-", database], input=text, capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr

    def rows(self, database, sql):
        """Tuples, by PostgreSQL's own JSON; columns need names of their own."""
        text = self.sql(database, f"SELECT json_agg(row_to_json(one_row)) FROM ({sql}) AS one_row")
        lists = json.loads(text) if text.strip() else None
        return [tuple(row.values()) for row in lists or []]

    def create(self):
        """A fresh database's name."""
        self.databases += 1
        name = f"test{self.databases}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return name

    def uri(self, database, user="offpeak", password=PASSWORD):
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"
