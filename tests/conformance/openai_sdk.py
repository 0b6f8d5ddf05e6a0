"""The official OpenAI Python SDK against the emulator: openai_sdk.py URL plain|faults.

Behaviour: files, batches and the realtime calls of the SDK work unmodified. Oracle: the SDK's own
types and exceptions, and the facts of the API reference.
"""
import io
import json
import sys

import openai

from checks import check, finish, raises, until

URL, KIND = sys.argv[1], sys.argv[2]
MODEL = "gpt-4.1-mini"
CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
SCHEMA = {"type": "object", "additionalProperties": False, "required": ["label"],
          "properties": {"label": {"type": "string", "enum": ["bug", "idea"]}}}


def line(custom_id, url=CHAT, model=MODEL, **changes):
    body = {"model": model}
    if url == CHAT:
        body["messages"] = [{"role": "system", "content": "Be brief."},
                            {"role": "user", "content": f"Classify {custom_id}: printer on fire"}]
    else:
        body["input"] = f"Classify {custom_id}: the printer is on fire"
    body.update(changes)
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def jsonl(lines):
    return "".join(json.dumps(item) + "\n" for item in lines).encode()


def upload(client, lines, name="batch.jsonl"):
    data = lines if isinstance(lines, bytes) else jsonl(lines)
    return client.files.create(file=(name, io.BytesIO(data)), purpose="batch")


def create(client, lines, endpoint=CHAT, **more):
    return client.batches.create(input_file_id=upload(client, lines).id, endpoint=endpoint,
                                 completion_window="24h", **more)


def ended(client, batch):
    return until(batch.id, lambda: client.batches.retrieve(batch.id),
                 lambda b: b.status in ("completed", "failed", "expired", "cancelled"))


def lines_of(client, file_id):
    text = client.files.content(file_id).text
    check("lines end", text.endswith("\n"), text[-20:])
    return {item["custom_id"]: item for item in map(json.loads, text.splitlines())}


def files(client):
    data = jsonl([line("a")])
    one = upload(client, data)
    check("file", one.id.startswith("file-") and one.bytes == len(data) and
          one.status == "processed" and one.filename == "batch.jsonl" and one.purpose == "batch", one)
    check("30 days", one.expires_at == one.created_at + 2592000, one)
    check("request id", one._request_id, one)
    check("retrieve", client.files.retrieve(one.id) == one)
    check("content", client.files.content(one.id).read() == data)
    short = client.files.create(file=("b.jsonl", data), purpose="batch",
                                expires_after={"anchor": "created_at", "seconds": 3600})
    check("expires_after", short.expires_at == short.created_at + 3600, short)
    other = client.files.create(file=("notes.txt", b"hello"), purpose="user_data")
    check("never expires", other.expires_at is None, other)
    ids = [item.id for item in client.files.list(limit=2)]
    check("list pages, newest first", ids == [other.id, short.id, one.id], ids)
    ids = [item.id for item in client.files.list(purpose="batch", order="asc")]
    check("purpose and order", ids == [one.id, short.id], ids)
    ids = [item.id for item in client.files.list(after=short.id)]
    check("after", ids == [one.id], ids)
    gone = client.files.delete(short.id)
    check("delete", gone.deleted and gone.id == short.id, gone)
    raises("deleted", openai.NotFoundError, "No such File object", lambda: client.files.retrieve(
        short.id))
    raises("name", openai.BadRequestError, "Must be .jsonl", lambda: upload(client, data, "a.json"))
    raises("purpose", openai.BadRequestError, "is not one of",
           lambda: client.files.create(file=("a.jsonl", data), purpose="nonsense"))
    big = jsonl([line(f"r-{i}", messages=[{"role": "user", "content": "x" * 1000}])
                 for i in range(5000)])
    check("5 MB", client.files.content(upload(client, big).id).read() == big)


def batches(client):
    made = [create(client, [line(f"one-{i}")]) for i in range(5)]
    first = create(client, [
        line("good"), line("bad-schema", response_format={"type": "json_schema", "json_schema": {
            "name": "x", "strict": True, "schema": {"type": "object", "properties": {"a": {}}}}}),
        line("json", response_format={"type": "json_schema", "json_schema": {
            "name": "label", "strict": True, "schema": SCHEMA}}),
        line("unknown", surprise=1), line("stream", stream=True)], metadata={"tag": "t-1"})
    check("create", first.id.startswith("batch_") and first.status == "validating", first)
    check("nulls", first.errors is None and first.output_file_id is None and
          first.in_progress_at is None and "output_file_id" in first.model_fields_set, first)
    check("24 hours", first.expires_at == first.created_at + 86400, first)
    check("no counts yet", first.request_counts.total == 0, first.request_counts)
    check("metadata", first.metadata == {"tag": "t-1"}, first.metadata)
    ids = [b.id for b in client.batches.list(limit=2)]
    check("list pages, newest first", ids == [first.id] + [b.id for b in reversed(made)], ids)
    page = client.batches.list(limit=2, after=made[4].id)
    check("after", [b.id for b in page.data] == [made[3].id, made[2].id] and page.has_more, page)
    done = ended(client, first)
    counts = done.request_counts
    check("counts", (counts.total, counts.completed, counts.failed) == (5, 2, 3), counts)
    check("stamps", done.created_at <= done.in_progress_at <= done.finalizing_at <=
          done.completed_at and done.status == "completed", done)
    check("usage", done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0,
          done.usage)
    check("model", done.model == MODEL, done.model)
    out, bad = lines_of(client, done.output_file_id), lines_of(client, done.error_file_id)
    check("output", set(out) == {"good", "json"} and set(bad) == {"bad-schema", "unknown", "stream"},
          (out, bad))
    good = out["good"]
    check("line", good["id"].startswith("batch_req_") and good["error"] is None and
          good["response"]["status_code"] == 200 and good["response"]["request_id"], good)
    answer = openai.types.chat.ChatCompletion.model_validate(good["response"]["body"])
    check("chat body", answer.choices[0].message.content and answer.usage.prompt_tokens, answer)
    label = json.loads(out["json"]["response"]["body"]["choices"][0]["message"]["content"])
    check("schema", label["label"] in ("bug", "idea"), label)
    wrong = bad["unknown"]["response"]
    check("error line", wrong["status_code"] == 400 and bad["unknown"]["error"] is None and
          wrong["body"]["error"] == {"message": "Unknown parameter: 'surprise'.", "param": "surprise",
                                     "type": "invalid_request_error", "code": "unknown_parameter"},
          wrong)
    check("schema error", "additionalProperties" in bad["bad-schema"]["response"]["body"]["error"][
        "message"], bad["bad-schema"])
    info = client.files.retrieve(done.output_file_id)
    check("output file", info.purpose == "batch_output" and info.bytes > 0, info)
    only_bad = ended(client, create(client, [line("s", stream=True)]))
    check("all failed is completed", only_bad.status == "completed" and
          only_bad.output_file_id is None and only_bad.error_file_id, only_bad)
    raises("late cancel", openai.ConflictError,
           "Cannot cancel a batch with status 'completed'.",
           lambda: client.with_options(max_retries=0).batches.cancel(first.id))
    running = create(client, [line("x"), line("y")])
    check("cancel", client.batches.cancel(running.id).status == "cancelling")
    over = ended(client, running)
    check("cancelled", over.status == "cancelled" and over.cancelling_at and over.cancelled_at, over)
    raises("unknown", openai.NotFoundError, "No batch found",
           lambda: client.batches.retrieve("batch_0"))


def validation(client):
    def codes(data, endpoint=CHAT):
        made = create(client, data, endpoint)
        check("validating first", made.status == "validating" and made.errors is None, made)
        done = ended(client, made)
        check("failed", done.status == "failed" and done.failed_at and not done.output_file_id, done)
        return [(e.code, e.line) for e in done.errors.data]

    good = json.dumps(line("a")).encode() + b"\n"
    seen = codes(good + b"{oops\n")
    check("invalid_json_line", seen == [("invalid_json_line", 2)], seen)
    seen = codes(good + good)
    check("duplicate_custom_id", seen == [("duplicate_custom_id", 2)], seen)
    seen = codes([line("a"), line("b", model="gpt-5")])
    check("mismatched_model", seen == [("mismatched_model", 2)], seen)
    seen = codes([line("a")], RESPONSES)
    check("url_mismatch", seen == [("url_mismatch", 1)], seen)
    seen = codes([{**line("a"), "method": "GET"}])
    check("invalid_method", seen == [("invalid_method", 1)], seen)
    check("empty", codes(b"\n") == [("empty_file", None)])
    seen = codes([line(str(i)) for i in range(50001)])
    check("50,001 lines", seen == [("too_many_tasks", None)], seen)
    lost = client.batches.create(input_file_id="file-nowhere", endpoint=CHAT,
                                 completion_window="24h")
    done = ended(client, lost)
    check("no such file", done.errors.data[0].code == "invalid_request" and
          done.errors.data[0].param == "file_id" and "Cannot find file" in
          done.errors.data[0].message, done)
    raises("endpoint", openai.BadRequestError, "'/v1/x'", lambda: create(client, [line("a")], "/v1/x"))
    raises("window", openai.BadRequestError, "completion_window", lambda: client.batches.create(
        input_file_id="file-x", endpoint=CHAT, completion_window="1h"))


def endpoints(client):
    done = ended(client, create(client, [
        line("r", RESPONSES, "gpt-5-mini"), line("cut", RESPONSES, "gpt-5-mini", max_output_tokens=1)],
        RESPONSES))
    out = lines_of(client, done.output_file_id)
    body = openai.types.responses.Response.model_validate(out["r"]["response"]["body"])
    check("reasoning first", [item.type for item in body.output] == ["reasoning", "message"], body)
    check("text", body.output_text and body.usage.output_tokens_details.reasoning_tokens > 0, body)
    cut = out["cut"]["response"]["body"]
    check("incomplete", cut["status"] == "incomplete" and
          cut["incomplete_details"]["reason"] == "max_output_tokens", cut)
    done = ended(client, create(client, [line(f"e{i}", EMBEDDINGS, "text-embedding-3-small",
                                              dimensions=8) for i in range(2)], EMBEDDINGS))
    out = lines_of(client, done.output_file_id)
    vector = out["e0"]["response"]["body"]["data"][0]["embedding"]
    check("embedding in a batch", len(vector) == 8, vector)


def realtime(client):
    answer = client.responses.create(model="gpt-5", input="Say one two three", instructions="Be brief",
                                     service_tier="flex")
    check("response", answer.output_text and answer.status == "completed", answer)
    check("flex", answer.service_tier == "flex", answer.service_tier)
    parsed = client.responses.create(model=MODEL, input="Label it", text={"format": {
        "type": "json_schema", "name": "label", "strict": True, "schema": SCHEMA}})
    check("structured", json.loads(parsed.output_text)["label"] in ("bug", "idea"), parsed)
    long = "policy " * 1000
    used = [client.responses.create(model=MODEL, instructions=long, input="x").usage for _ in range(2)]
    check("cached", used[0].input_tokens_details.cached_tokens == 0 and
          used[1].input_tokens_details.cached_tokens >= 1024, used)
    chat = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    check("chat", chat.choices[0].finish_reason == "stop" and chat.usage.total_tokens > 0, chat)
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}])
    check("rate-limit headers", raw.headers["x-ratelimit-reset-requests"] == "6ms" and
          raw.headers["x-request-id"], raw.headers)
    vectors = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"]).data
    check("embeddings", len(vectors) == 2 and len(vectors[0].embedding) == 1536 and
          vectors[0].embedding != vectors[1].embedding)
    norm = sum(x * x for x in vectors[0].embedding)
    check("length of a vector", 0.8 < norm < 1.2, norm)
    raises("model", openai.NotFoundError, "does not exist", lambda: client.responses.create(
        model="gpt-does-not-exist", input="x"))
    raises("unknown parameter", openai.BadRequestError, "Unknown parameter: 'zap'",
           lambda: client.responses.create(model=MODEL, input="x", extra_body={"zap": 1}))
    raises("stream", openai.BadRequestError, "stream", lambda: client.responses.create(
        model=MODEL, input="x", stream=True))
    check("models", MODEL in [m.id for m in client.models.list()])
    raises("no key", openai.AuthenticationError, "API key", lambda: client.models.list(
        extra_headers={"Authorization": openai.Omit()}))
    prefixed = openai.OpenAI(base_url=URL + "/openai/v1", api_key="k")
    check("prefix", prefixed.models.retrieve(MODEL).id == MODEL)


def plain(client):
    files(client)
    batches(client)
    validation(client)
    endpoints(client)
    realtime(client)


def faults(client):
    made = create(client, [line("a"), line("b"), line("zero"), line("lost"), line("twice")])
    check("create is sent again", len(client.batches.list().data) == 2, client.batches.list())
    done = ended(client, made)
    counts = done.request_counts
    check("counts that lie", (counts.total, counts.completed, counts.failed) ==
          (5, 5, 0), counts)
    out = client.files.content(done.output_file_id).text.splitlines()
    ids = [json.loads(item)["custom_id"] for item in out]
    check("missing and twice", sorted(ids) == ["a", "b", "twice", "twice"], ids)
    bad = lines_of(client, done.error_file_id)
    check("status 0", bad["zero"]["response"] == {"status_code": 0, "request_id": "", "body": {}}, bad)
    empty = ended(client, create(client, [line("c")]))
    check("empty string", empty.error_file_id == "" and empty.output_file_id, empty)
    full = ended(client, create(client, [line("d")]))
    check("token_limit_exceeded", full.errors.data[0].code == "token_limit_exceeded" and
          "Limit: 1 enqueued tokens" in full.errors.data[0].message, full)
    old = ended(client, create(client, [line("expire-a"), line("expire-b")]))
    check("expired", old.status == "expired" and old.expired_at and not old.output_file_id, old)
    gone = lines_of(client, old.error_file_id)
    check("batch_expired", gone["expire-a"]["error"]["code"] == "batch_expired", gone)
    late = ended(client, create(client, [line("e")]))
    check("no output yet", late.status == "completed" and not late.output_file_id, late)
    late = client.batches.retrieve(late.id)
    check("output at last", late.output_file_id, late)
    refused = client.responses.create(model=MODEL, input="please-refuse")
    check("refusal", refused.output[0].content[0].type == "refusal", refused)
    raises("quota", openai.RateLimitError, "exceeded your current quota", lambda: client.with_options(
        max_retries=0).responses.create(model=MODEL, input="broke"))
    check("429 is retried", client.responses.create(model=MODEL, input="busy").output_text)
    raises("no batches here", openai.NotFoundError, "Not found", lambda: create(client, [line("z")]))


client = openai.OpenAI(base_url=URL + "/v1", api_key="k")
{"plain": plain, "faults": faults}[KIND](client)
finish(f"python openai {openai.__version__} {KIND}")
