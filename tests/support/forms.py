"""Requests, results and batches in each provider's own form, written by hand after the providers'
documents (reference/anthropic.md, openai.md, gemini.md): the oracle of what the program reads and
writes. Shares no code with the program."""
import json
import re
import urllib.request

from harness import MODELS


def post(url, body, headers, method="POST"):
    """The reply's headers and its JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as reply:
        text = reply.read()
        return reply.headers, json.loads(text) if text else None


class Anthropic:
    name, id_member, params_member = "anthropic", "custom_id", "params"
    going, ended = "in_progress", "ended"  # states
    packed = "built"  # our state of a batch that is about to be sent
    batches = "/batches"  # how the path of the list ends
    no_batches = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    missing = {"type": "error", "error": {"type": "not_found_error", "message": "no such batch"}}

    def params(self, text, model=MODELS["anthropic"]):
        return {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": text}]}

    def prompt(self, params):
        return params["messages"][0]["content"]

    def line(self, custom_id, params):
        return {"custom_id": custom_id, "params": params}

    def lines_of(self, payload):
        """The request lines of a batch file."""
        return json.loads(payload)["requests"]

    def create(self, url, lines, key="somebody-else"):
        """A batch made past the program, with another key of the same account: its id."""
        return post(url + "/v1/messages/batches", {"requests": lines}, {
            "content-type": "application/json", "x-api-key": key,
            "anthropic-version": "2023-06-01"})[1]["id"]

    def results(self, url, batch):
        """What the account holds of an ended batch, raw: its files."""
        request = urllib.request.Request(f"{url}/v1/messages/batches/{batch}/results", headers={
            "x-api-key": "k", "anthropic-version": "2023-06-01"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return [reply.read()]

    def listed(self, url):
        request = urllib.request.Request(url + "/v1/messages/batches", headers={
            "x-api-key": "any", "anthropic-version": "2023-06-01"})
        return json.loads(urllib.request.urlopen(request, timeout=30).read())["data"]

    def answer(self, custom_id, text, cut=False):
        return {"custom_id": custom_id, "result": {"type": "succeeded", "message": {
            "model": MODELS["anthropic"], "role": "assistant", "type": "message",
            "stop_reason": "max_tokens" if cut else "end_turn",
            "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 10, "output_tokens": 20}}}}

    def error(self, custom_id, message="busy"):
        """An error of the provider's own making, which another try may mend."""
        return {"custom_id": custom_id, "result": {"type": "errored", "error": {
            "type": "error", "error": {"type": "overloaded_error", "message": message}}}}

    def unrun(self, custom_id):
        """One that the provider never came to."""
        return {"custom_id": custom_id, "result": {"type": "expired"}}

    def is_good(self, line):
        return line["result"]["type"] == "succeeded"

    def at(self, url):
        """The environment in which the emulator is at url."""
        return {"ANTHROPIC_BASE_URL": url}

    def key_env(self, url):
        """Without a key, and a provider that cannot be reached."""
        return {"ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": url}


class OpenAI:
    name, id_member, params_member = "openai", "custom_id", "body"
    going, ended = "in_progress", "completed"
    packed = "uploaded"
    batches = "/batches"
    no_batches = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    missing = {"error": {"message": "No batch found", "type": "invalid_request_error", "param": None,
                         "code": None}}

    def params(self, text, model=MODELS["openai"]):
        return {"model": model, "max_output_tokens": 500, "input": [{"role": "user", "content": text}]}

    def prompt(self, params):
        return params["input"][-1]["content"]

    def line(self, custom_id, params):
        return {"custom_id": custom_id, "method": "POST", "url": "/v1/responses", "body": params}

    def lines_of(self, payload):
        return [json.loads(line) for line in payload.splitlines()]

    def upload(self, url, lines, key, name):
        data = "".join(json.dumps(line) + "\n" for line in lines)
        form = (f'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
                f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n{data}\r\n--b--\r\n')
        return post(url + "/v1/files", form.encode(), {
            "authorization": "Bearer " + key, "content-type": "multipart/form-data; boundary=b"})[1]["id"]

    def create(self, url, lines, key="somebody-else"):
        file = self.upload(url + "/openai", lines, key, "theirs.jsonl")
        return post(url + "/openai/v1/batches", {
            "input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"}, {
                "authorization": "Bearer " + key, "content-type": "application/json"})[1]["id"]

    def get(self, url, path):
        request = urllib.request.Request(url + path, headers={"authorization": "Bearer any"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.read()

    def results(self, url, batch):
        told = json.loads(self.get(url, "/openai/v1/batches/" + batch))
        return [self.get(url, f"/openai/v1/files/{told[part]}/content")
                for part in ("output_file_id", "error_file_id") if told[part]]

    def listed(self, url):
        return json.loads(self.get(url, "/openai/v1/batches"))["data"]

    def reply(self, custom_id, status, body):
        return {"id": "batch_req_1", "custom_id": custom_id, "error": None,
                "response": {"status_code": status, "request_id": "req_1", "body": body}}

    def answer(self, custom_id, text, cut=False):
        return self.reply(custom_id, 200, {
            "id": "resp_1", "object": "response", "model": MODELS["openai"],
            "status": "incomplete" if cut else "completed", "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [{"type": "reasoning", "id": "rs_1", "summary": []},
                       {"type": "message", "role": "assistant", "status": "completed", "content": [
                           {"type": "output_text", "text": text, "annotations": []}]}],
            "usage": {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}})

    def error(self, custom_id, message="busy"):
        return self.reply(custom_id, 503, {"error": {
            "message": message, "type": "server_error", "param": None, "code": None}})

    def unrun(self, custom_id):
        return {"id": "batch_req_1", "custom_id": custom_id, "response": None, "error": {
            "code": "batch_expired",
            "message": "This request could not be executed before the completion window expired."}}

    def is_good(self, line):
        return line["error"] is None and line["response"]["status_code"] == 200

    def at(self, url):
        return {"OPENAI_BASE_URL": url + "/openai/v1"}

    def key_env(self, url):
        return {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": url}


class Gemini:
    name, id_member, params_member = "gemini", "key", "request"
    going, ended = "BATCH_STATE_RUNNING", "BATCH_STATE_SUCCEEDED"
    packed = "uploaded"
    batches = "/batches"
    no_batches = {}
    missing = {"error": {"code": 404, "message": "Requested entity was not found.",
                         "status": "NOT_FOUND"}}

    def params(self, text, model=None):
        own = {"model": "models/" + model} if model else {}
        return {**own, "contents": [{"role": "user", "parts": [{"text": text}]}],
                "generationConfig": {"maxOutputTokens": 500}}

    def prompt(self, params):
        return params["contents"][0]["parts"][0]["text"]

    def line(self, custom_id, params):
        return {"key": custom_id, "request": params}

    def lines_of(self, payload):
        return [json.loads(line) for line in payload.splitlines()]

    def create(self, url, lines, key="somebody-else"):
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        begun, _ = post(url + "/gemini/upload/v1beta/files", {"file": {"displayName": "theirs"}}, {
            "x-goog-api-key": key, "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start", "content-type": "application/json",
            "x-goog-upload-header-content-length": str(len(data)),
            "x-goog-upload-header-content-type": "application/jsonl"})
        _, told = post(begun["x-goog-upload-url"], data, {
            "x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"})
        return post(f"{url}/gemini/v1beta/models/{MODELS['gemini']}:batchGenerateContent", {"batch": {
            "displayName": "theirs", "inputConfig": {"fileName": told["file"]["name"]}}}, {
                "x-goog-api-key": key, "content-type": "application/json"})[1]["name"]

    def get(self, url, path):
        request = urllib.request.Request(url + path, headers={"x-goog-api-key": "any"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.read()

    def results(self, url, batch):
        told = json.loads(self.get(url, "/gemini/v1beta/" + batch))
        file = told["response"]["responsesFile"]
        return [self.get(url, f"/gemini/download/v1beta/{file}:download?alt=media")]

    def listed(self, url):
        return json.loads(self.get(url, "/gemini/v1beta/batches")).get("operations", [])

    def answer(self, custom_id, text, cut=False):
        return {"key": custom_id, "response": {
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0,
                            "finishReason": "MAX_TOKENS" if cut else "STOP"}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 20,
                              "totalTokenCount": 30},
            "modelVersion": MODELS["gemini"]}}

    def error(self, custom_id, message="busy"):
        return {"key": custom_id, "error": {"code": 14, "message": message}}

    def unrun(self, custom_id):
        return {"key": custom_id, "error": {"code": 1}}

    def is_good(self, line):
        return "response" in line

    def at(self, url):
        return {"GOOGLE_GEMINI_BASE_URL": url + "/gemini"}

    def key_env(self, url):
        return {"GEMINI_API_KEY": "", "GOOGLE_GEMINI_BASE_URL": url}


class Mistral(OpenAI):
    name = "mistral"
    going, ended = "RUNNING", "SUCCESS"
    batches = "/batch/jobs"
    no_batches = {"object": "list", "data": [], "total": 0}
    missing = {"detail": "Job does not exist."}

    def params(self, text, model=None):
        return {**({"model": model} if model else {}), "max_tokens": 500,
                "messages": [{"role": "user", "content": text}]}

    def prompt(self, params):
        return params["messages"][-1]["content"]

    def line(self, custom_id, params):
        return {"custom_id": custom_id, "body": params}

    def create(self, url, lines, key="somebody-else"):
        file = self.upload(url + "/mistral", lines, key, "theirs.jsonl")
        return post(url + "/mistral/v1/batch/jobs", {
            "input_files": [file], "endpoint": "/v1/chat/completions", "model": MODELS["mistral"]}, {
                "authorization": "Bearer " + key, "content-type": "application/json"})[1]["id"]

    def results(self, url, batch):
        told = json.loads(self.get(url, "/mistral/v1/batch/jobs/" + batch))
        return [self.get(url, f"/mistral/v1/files/{told[part]}/content")
                for part in ("output_file", "error_file") if told[part]]

    def listed(self, url):
        return json.loads(self.get(url, "/mistral/v1/batch/jobs"))["data"]

    def answer(self, custom_id, text, cut=False):
        return self.reply(custom_id, 200, {
            "id": "1", "object": "chat.completion", "model": MODELS["mistral"], "choices": [{
                "index": 0, "finish_reason": "length" if cut else "stop",
                "message": {"role": "assistant", "content": text, "tool_calls": None}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}})

    def error(self, custom_id, message="busy"):
        return self.reply(custom_id, 503, {"object": "error", "message": message,
                                           "type": "service_unavailable"})

    def unrun(self, custom_id):
        return {"id": "1", "custom_id": custom_id, "response": None,
                "error": {"code": "batch_cancelled", "message": "The job was cancelled."}}

    def at(self, url):
        return {"MISTRAL_BASE_URL": url + "/mistral"}

    def key_env(self, url):
        return {"MISTRAL_API_KEY": "", "MISTRAL_BASE_URL": url}


FORMS = {form.name: form for form in (Anthropic(), OpenAI(), Gemini(), Mistral())}


def without_ids(text, tag):
    """Lines as a set, whatever ids of this ledger stand in them."""
    return {re.sub(tag + r"-\w+-\w+", "ID", line) for line in text.splitlines()}
