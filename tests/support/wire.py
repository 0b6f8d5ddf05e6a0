"""What stands between the program and the emulator in tests of the promise: a proxy that changes
replies, a second customer of the same account, and pipelines to run. Shares no code with the
program."""
import http.client
import http.server
import json
import threading
import urllib.parse
import urllib.request

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"],
          "additionalProperties": False}


def write_pipeline(folder, records, batch, extra="", request="", name=None,
                   model="claude-haiku-4-5"):
    """A pipeline that asks one question about each of so many records, so many in a batch."""
    folder.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(f"""
pipeline: {name or folder.name}
about: questions in batches
params:
  path: {{about: input, type: path, required: true}}
inputs:
  items: {{csv: "{{{{path}}}}"}}
records: SELECT id AS key, word FROM items
requests:
  ask: {{model: {model}, max_tokens: 200, user: "Say something about {{{{word}}}}",
        answer: a.json{request}}}
outputs:
  - csv: answers.csv
    key: [id]
    rows: SELECT key AS id, answer ->> 'text' AS text FROM answers
batch: {{requests: {batch}}}
{extra}""")
    (folder / "a.json").write_text(json.dumps(SCHEMA))
    (folder / "items.csv").write_text("id,word\n" + "".join(
        f"r{i:03},{folder.name}-word{i}\n" for i in range(records)))
    return folder


def foreign(url, count, name="foreign"):
    """Somebody else's batch in the same account: its id."""
    body = {"requests": [
        {"custom_id": f"{name}-{i}",
         "params": {"model": "claude-haiku-4-5", "max_tokens": 50,
                    "messages": [{"role": "user", "content": f"{name} {i}"}]}}
        for i in range(count)]}
    request = urllib.request.Request(
        url + "/v1/messages/batches", data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "x-api-key": "somebody-else",
                 "anthropic-version": "2023-06-01"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())["id"]


class Proxy:
    """Passes everything on to `url`. `change(method, path, status, headers, body)` may return
    another (status, headers, body), or None for the reply as it is."""

    def __init__(self, url, change):
        target = urllib.parse.urlsplit(url)
        lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                upstream = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
                # With the client's own Host: what the emulator says of places leads here again.
                upstream.request(self.command, self.path, body or None, dict(self.headers.items()))
                reply = upstream.getresponse()
                data = reply.read()
                kept = {k: v for k, v in reply.getheaders()
                        if k.lower() not in ("content-length", "transfer-encoding", "connection")}
                upstream.close()
                with lock:
                    changed = change(self.command, self.path, reply.status, kept, data)
                status, kept, data = changed or (reply.status, kept, data)
                self.send_response_only(status)
                for k, v in kept.items():
                    self.send_header(k, v)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = pass_on

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
