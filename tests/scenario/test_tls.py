"""The send gate and trust over TLS.

Behaviour: docs/design/send-gate.md: the last byte of a create is withheld until `sending` is durable;
           what is not trusted gets nothing; redirects are not followed.
Stimulus:  the program before a TLS server with an authority made for the test, which passes
           everything on to the emulator or answers by itself; the process killed on either side of
           the gate.
Oracle:    the bytes of the body that came off the server's TLS socket; the ledger, read by the server
           at the moment the last byte is there; connections counted.
"""
import http.client
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import urllib.parse

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import Emulator, Offpeak, clock  # noqa: E402
from wire import write_pipeline  # noqa: E402

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(not OPENSSL, reason="needs openssl")
RECORDS = 3
SPEED = 3000


def openssl(folder, *args):
    subprocess.run([OPENSSL, *args], cwd=folder, check=True, capture_output=True)


def make_authority(folder):
    """ca.pem, and NAME.pem with key and certificate for localhost and for another name."""
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=an authority", "-days", "2")
    for name in ("localhost", "other.example"):
        openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", "key", "-out", "csr", "-subj", f"/CN={name}")
        (folder / "ext").write_text(f"subjectAltName=DNS:{name}\n")
        openssl(folder, "x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", "crt", "-days", "2", "-extfile", "ext")
        (folder / f"{name}.pem").write_text((folder / "key").read_text() + (folder / "crt").read_text())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder)
    return folder


class TlsServer:
    """Passes requests on to `upstream`, unless `answer(method, path)` has a raw reply for it."""

    def __init__(self, pem, upstream=None, answer=None, at_last_byte=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.upstream = urllib.parse.urlsplit(upstream) if upstream else None
        self.answer, self.at_last_byte = answer, at_last_byte
        self.connections, self.requests, self.creates = 0, 0, []
        self.ended = threading.Event()  # a create's connection is over
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        try:
            with self.context.wrap_socket(raw, server_side=True) as tls:
                while self.exchange(tls):
                    pass
        except (OSError, ssl.SSLError):
            pass

    def exchange(self, tls):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = tls.recv(65536)
            if not piece:
                return False
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        self.requests += 1
        lines = head.decode().split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        create = method == "POST" and path.endswith("/batches")
        if create:
            self.creates.append([length, len(body)])
        while len(body) < length:
            piece = tls.recv(65536)
            if not piece:
                self.ended.set()
                return False
            body += piece
            if create:
                self.creates[-1][1] = len(body)
        if create and self.at_last_byte:
            self.at_last_byte()
        reply = self.answer(method, path) if self.answer else None
        tls.sendall(reply or self.pass_on(method, path, headers, body))
        return True

    def pass_on(self, method, path, headers, body):
        upstream = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=60)
        upstream.request(method, path, body or None,
                         {k: v for k, v in headers.items() if k not in ("host", "content-length")})
        reply = upstream.getresponse()
        data = reply.read()
        upstream.close()
        kept = "".join(f"{k}: {v}\r\n" for k, v in reply.getheaders()
                       if k.lower() not in ("content-length", "transfer-encoding", "connection"))
        return f"HTTP/1.1 {reply.status} x\r\n{kept}content-length: {len(data)}\r\n\r\n".encode() + data


class Stage:
    def __init__(self, tmp_path):
        self.pipeline = write_pipeline(tmp_path / "tls", RECORDS, RECORDS)
        self.emulator = Emulator(tmp_path, speed=SPEED)
        self.offpeak = Offpeak(tmp_path, None, OFFPEAK_CLOCK=clock(SPEED))

    def __enter__(self):
        self.emulator.__enter__()
        return self

    def __exit__(self, *_):
        self.emulator.__exit__()

    def run(self, server, *args, expect=None, **env):
        return self.offpeak.run("run", self.pipeline, "--path", self.pipeline / "items.csv", *args,
                                expect=expect, ANTHROPIC_BASE_URL=server.url, **env)

    def state(self):
        return self.offpeak.ledger("SELECT state FROM batch")[0][0]


@pytest.fixture
def stage(tmp_path):
    with Stage(tmp_path) as one:
        yield one


def test_a_whole_run(stage, authority):
    """`sending` can be read by others, so it is committed, when the last byte is there."""
    seen = []
    with TlsServer(authority / "localhost.pem", stage.emulator.url,
                   at_last_byte=lambda: seen.append(stage.state())) as server:
        stage.run(server, expect=0, OFFPEAK_CA_FILE=authority / "ca.pem")
        assert seen == ["sending"]
        assert [sent for length, sent in server.creates] == [length for length, _ in server.creates]
    assert len(stage.offpeak.csv("answers.csv")) == RECORDS


@pytest.mark.parametrize("point,state", [("send.gate.before", "built"), ("send.gate.after", "sending")])
def test_killed_at_the_gate(stage, authority, point, state):
    """All but one byte has come, and the last one never does: nothing was bought."""
    with TlsServer(authority / "localhost.pem", stage.emulator.url) as server:
        ca = {"OFFPEAK_CA_FILE": authority / "ca.pem"}
        stage.run(server, expect=-9, OFFPEAK_FAULT=f"{point}:1", **ca)
        assert server.ended.wait(10)
        (length, came), = server.creates
        assert came == length - 1
        assert stage.state() == state
        assert stage.emulator.bill() == []
        stage.offpeak.run("recover", expect=0, ANTHROPIC_BASE_URL=server.url, **ca)
    assert set(stage.emulator.accepted().values()) == {1}


@pytest.mark.parametrize("name,trusted", [("localhost", False), ("other.example", True)],
                         ids=["unknown authority", "another name"])
def test_what_is_not_trusted_gets_nothing(stage, authority, name, trusted):
    with TlsServer(authority / f"{name}.pem", stage.emulator.url) as server:
        ca = authority / "ca.pem" if trusted else None
        done = stage.run(server, "--wait=60", OFFPEAK_CA_FILE=ca)
        assert done.returncode == 3, done.stderr
        assert "certificate" in done.stderr.lower() or "SSL" in done.stderr
        assert server.connections > 0 and server.requests == 0
    assert stage.emulator.bill() == [] and stage.state() == "built"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version,served", [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)])
@pytest.mark.parametrize("mode", ["batch", "realtime"])
def test_the_oldest_tls(stage, authority, version, served, mode):
    """A server that speaks TLS 1.1 and nothing later gets no byte of a request, and is named; 1.2 is
    spoken to, so that it is the version and nothing else that is refused."""
    with TlsServer(authority / "localhost.pem", stage.emulator.url) as server:
        server.context.set_ciphers("DEFAULT:@SECLEVEL=0")  # where 1.1 is spoken at all
        server.context.minimum_version = ssl.TLSVersion.TLSv1
        server.context.maximum_version = version
        done = stage.run(server, "--mode", mode, *([] if served else ["--wait=60"]),
                         OFFPEAK_CA_FILE=authority / "ca.pem")
        if served:
            assert done.returncode == 0 and server.requests > 0, done.stderr
            return
        assert done.returncode == 3, done.stderr
        assert server.connections > 0 and server.requests == 0
        assert "TLS 1.2" in done.stderr, done.stderr
    assert stage.emulator.bill() == []


def redirect(url, status):
    return f"HTTP/1.1 {status} x\r\nlocation: {url}/v1/messages/batches\r\ncontent-length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_create_does_not_follow(stage, authority, status):
    """Neither key nor requests go to where the answer points; the outcome is in doubt."""
    ca = {"OFFPEAK_CA_FILE": authority / "ca.pem"}
    with TlsServer(authority / "localhost.pem", stage.emulator.url) as elsewhere, \
            TlsServer(authority / "localhost.pem", stage.emulator.url, answer=lambda method, path:
                      redirect(elsewhere.url, status) if method == "POST" else None) as server:
        done = stage.run(server, "--wait=60", **ca)
        assert done.returncode == 3, done.stderr
        assert elsewhere.connections == 0 and len(server.creates) == 1
        assert stage.state() == "ambiguous"
    assert stage.emulator.bill() == []


def test_a_plain_exchange_does_not_follow(stage, authority):
    with TlsServer(authority / "localhost.pem", stage.emulator.url) as elsewhere, \
            TlsServer(authority / "localhost.pem", stage.emulator.url,
                      answer=lambda method, path: redirect(elsewhere.url, 302)) as server:
        done = stage.run(server, "--wait=60", OFFPEAK_CA_FILE=authority / "ca.pem")
        assert done.returncode == 3, done.stderr
        assert elsewhere.connections == 0 and server.requests > 0 and not server.creates


def test_a_file_of_authorities_that_is_not_there(stage, authority):
    with TlsServer(authority / "localhost.pem", stage.emulator.url) as server:
        done = stage.run(server, expect=1, OFFPEAK_CA_FILE=authority / "nowhere.pem")
        assert "OFFPEAK_CA_FILE" in done.stderr and "nowhere.pem" in done.stderr
        assert server.connections == 0
