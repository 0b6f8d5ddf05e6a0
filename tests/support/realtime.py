"""A provider that answers requests one by one: Anthropic's POST /v1/messages, as far as the tests of the
realtime lane need it. It keeps its own bill, counts how many requests it has at a time, and can delay,
refuse, cut and lose. Shares no code with the program."""
import collections
import http.server
import json
import threading
import time


def error(kind, message):
    return {"type": "error", "error": {"type": kind, "message": message}}


def message(text, model="claude-haiku-4-5"):
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": model,
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 1000, "output_tokens": 100}}


class Provider:
    """`decide(nth, prompt)` says what becomes of the nth request to arrive (from 1): None for a good
    answer, or a dict: status, body, headers, delay (seconds, before the answer), cut ("before": the
    connection closes with nothing said and nothing sold; "after": it was sold)."""

    def __init__(self, decide=None, answer=None, batches=404):
        self.decide = decide or (lambda nth, prompt: None)
        self.answer = answer or (lambda prompt: json.dumps({"text": f"about {prompt}"}))
        self.batches = batches
        self.lock = threading.Lock()
        self.asked = []                        # prompts, as they arrived
        self.times = []                        # when, monotonic
        self.sold = collections.Counter()      # prompt: answers that were produced, and are paid
        self.under_way = 0
        self.most_under_way = 0
        self.listed = 0

    def __enter__(self):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def reply(self, status, body, headers=None):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                provider.listed += 1
                if provider.batches == 404:
                    self.reply(404, error("not_found_error", "Not found"))
                else:
                    self.reply(200, {"data": [], "has_more": False, "first_id": None, "last_id": None})

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path != "/v1/messages":
                    return self.reply(404, error("not_found_error", "Not found"))
                provider.one(self, json.loads(body))

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                pass  # a client that was killed

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def one(self, handler, body):
        content = body["messages"][0]["content"]
        prompt = content if isinstance(content, str) else content[0]["text"]
        with self.lock:
            self.asked.append(prompt)
            self.times.append(time.monotonic())
            nth = len(self.asked)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        fate = self.decide(nth, prompt) or {}
        time.sleep(fate.get("delay", 0))
        status = fate.get("status", 200)
        with self.lock:
            self.under_way -= 1
            if status == 200 and fate.get("cut") != "before":
                self.sold[prompt] += 1
        if "cut" in fate:
            handler.close_connection = True
            return
        handler.reply(status, fate.get("body", message(self.answer(prompt))), fate.get("headers"))
