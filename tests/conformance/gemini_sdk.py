"""The official Google Gen AI Python SDK against the emulator: gemini_sdk.py URL plain|faults.

Behaviour: files, batches and the realtime calls of the SDK work unmodified. Oracle: the SDK's own
types and exceptions, and the facts of the API reference.
"""
import base64
import hashlib
import io
import json
import sys
import warnings

from google import genai
from google.genai import errors, types

from checks import check, finish, raises, until

warnings.filterwarnings("ignore", message=".*is experimental")
URL, KIND = sys.argv[1], sys.argv[2]
MODEL = "gemini-2.5-flash"
SCHEMA = {"type": "object", "required": ["label"],
          "properties": {"label": {"type": "string", "enum": ["bug", "idea"]}}}


def ask(text, **config):
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    if config:
        request["generation_config"] = config
    return request


def line(key, text="Classify: the printer is on fire", **config):
    return {"key": key, "request": ask(text, **config)}


def jsonl(lines):
    return "".join(json.dumps(item) + "\n" for item in lines).encode()


def upload(client, lines, **config):
    data = lines if isinstance(lines, bytes) else jsonl(lines)
    config.setdefault("mime_type", "application/jsonl")
    return client.files.upload(file=io.BytesIO(data), config=config)


def create(client, lines, name=None):
    return client.batches.create(model=MODEL, src=upload(client, lines).name,
                                 config={"display_name": name} if name else None)


def ended(client, job):
    return until(job.name, lambda: client.batches.get(name=job.name), lambda j: j.done)


def lines_of(client, job):
    data = client.files.download(file=job.dest.file_name)
    return {item.get("key"): item for item in map(json.loads, data.decode().splitlines())}


def files(client):
    data = jsonl([line("a")])
    one = upload(client, data, display_name="requests of today")
    check("file", one.name.startswith("files/") and one.state.name == "ACTIVE" and
          one.size_bytes == len(data) and one.display_name == "requests of today" and
          one.mime_type == "application/jsonl" and one.source.name == "UPLOADED", one)
    check("48 hours", (one.expiration_time - one.create_time).total_seconds() == 172800, one)
    check("hash of hex", base64.b64decode(one.sha256_hash).decode() ==
          hashlib.sha256(data).hexdigest(), one.sha256_hash)
    check("get", client.files.get(name=one.name) == one, client.files.get(name=one.name))
    big = upload(client, b'{"key":"x"}\n' * 1_000_000)
    check("two chunks", big.size_bytes == 12_000_000, big)
    names = [f.name for f in client.files.list(config={"page_size": 1})]
    check("list pages", names == [big.name, one.name], names)
    client.files.delete(name=big.name)
    raises("deleted is 403", errors.ClientError, "PERMISSION_DENIED",
           lambda: client.files.get(name=big.name))
    raises("uploads cannot be downloaded", errors.ClientError, "", lambda: client.files.download(
        file=one.name))


def batches(client):
    job = create(client, [line("a"), line("b"), line("json", response_mime_type="application/json",
                                                     response_json_schema=SCHEMA),
                          line("bad", nonsense=1)], "tag-1")
    check("create", job.name.startswith("batches/") and len(job.name) == 44 and
          job.state.name == "JOB_STATE_PENDING" and not job.done, job)
    check("display name", job.display_name == "tag-1" and job.model == "models/" + MODEL, job)
    done = ended(client, job)
    check("succeeded", done.state.name == "JOB_STATE_SUCCEEDED" and done.end_time, done)
    check("output", done.dest.file_name == "files/batch-" + job.name.split("/")[1], done.dest)
    lines = lines_of(client, done)
    check("keys in order", list(lines) == ["a", "b", "json", "bad"], list(lines))
    answer = types.GenerateContentResponse.model_validate(lines["a"]["response"])
    check("response", answer.text and answer.usage_metadata.total_token_count ==
          answer.usage_metadata.prompt_token_count + answer.usage_metadata.candidates_token_count +
          answer.usage_metadata.thoughts_token_count, answer)
    label = json.loads(types.GenerateContentResponse.model_validate(lines["json"]["response"]).text)
    check("schema", label["label"] in ("bug", "idea"), label)
    check("item error", lines["bad"]["error"]["code"] == 3 and
          "Unknown name \"nonsense\"" in lines["bad"]["error"]["message"], lines["bad"])
    raises("output file is no file", errors.ClientError, "40 characters",
           lambda: client.files.get(name=done.dest.file_name))

    small = client.batches.create(model=MODEL, src=[
        {**ask("one"), "metadata": {"key": "k-1"}}, {**ask("two"), "metadata": {"key": "k-2"}}])
    done = ended(client, small)
    items = done.dest.inlined_responses
    check("inline", len(items) == 2 and items[0].response.text and not done.dest.file_name, done.dest)
    check("inline metadata", [item.metadata for item in items] == [{"key": "k-1"}, {"key": "k-2"}],
          items)
    names = [j.name for j in client.batches.list(config={"page_size": 1})]
    check("list pages, newest first", names == [small.name, job.name], names)
    check("list leaves inline results out",
          all(not (j.dest and j.dest.inlined_responses) for j in client.batches.list()))

    waiting = create(client, [line("x")])
    client.batches.cancel(name=waiting.name)
    over = ended(client, waiting)
    check("canceled before the start", over.state.name == "JOB_STATE_CANCELLED" and not over.dest, over)
    failed = ended(client, create(client, b'{"key":"a","request":{}}\n{oops\n'))
    check("failed", failed.state.name == "JOB_STATE_FAILED", failed)
    client.batches.delete(name=job.name)
    raises("deleted", errors.ClientError, "NOT_FOUND", lambda: client.batches.get(name=job.name))
    raises("no file", errors.ClientError, "PERMISSION_DENIED",
           lambda: client.batches.create(model=MODEL, src="files/nowhere"))
    raises("no model", errors.ClientError, "is not found for API version",
           lambda: client.batches.create(model="gemini-does-not-exist", src=[ask("x")]))

    vectors = upload(client, [{"key": "e", "request": {
        "content": {"parts": [{"text": "one"}]}, "output_dimensionality": 5}}])
    job = client.batches.create_embeddings(model="gemini-embedding-001", src={
        "file_name": vectors.name})
    lines = lines_of(client, ended(client, job))
    check("embeddings of a file", len(lines["e"]["response"]["embedding"]["values"]) == 5 and
          lines["e"]["response"]["tokenCount"] == "1", lines)
    job = client.batches.create_embeddings(model="gemini-embedding-001", src={
        "inlined_requests": {"contents": ["one", "two"], "config": {"output_dimensionality": 4}}})
    items = ended(client, job).dest.inlined_embed_content_responses
    check("embeddings inline", [len(i.response.embedding.values) for i in items] == [4, 4], items)


def realtime(client):
    answer = client.models.generate_content(model=MODEL, contents="Say one two three")
    check("generate", answer.text and answer.candidates[0].finish_reason.name == "STOP" and
          answer.response_id and answer.model_version == MODEL, answer)
    check("thoughts", answer.usage_metadata.thoughts_token_count > 0, answer.usage_metadata)
    shown = client.models.generate_content(model=MODEL, contents="x", config={
        "thinking_config": {"include_thoughts": True}})
    check("thoughts shown", shown.candidates[0].content.parts[0].thought and
          not shown.candidates[0].content.parts[1].thought, shown)
    typed = client.models.generate_content(model=MODEL, contents="Label it", config={
        "response_mime_type": "application/json", "response_schema": SCHEMA})
    check("response_schema", json.loads(typed.text)["label"] in ("bug", "idea"), typed)
    cut = client.models.generate_content(model=MODEL, contents="Say much", config={
        "max_output_tokens": 1})
    check("MAX_TOKENS", cut.candidates[0].finish_reason.name == "MAX_TOKENS", cut)
    used = [client.models.generate_content(model=MODEL, contents="x", config={
        "system_instruction": "policy " * 1000}).usage_metadata for _ in range(2)]
    check("cached", not used[0].cached_content_token_count and
          used[1].cached_content_token_count >= 1024 and
          used[0].prompt_token_count == used[1].prompt_token_count, used)
    vectors = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"],
                                          config={"output_dimensionality": 6}).embeddings
    check("embed", [len(v.values) for v in vectors] == [6, 6], vectors)
    count = client.models.count_tokens(model=MODEL, contents="Say one two three").total_tokens
    check("count", count == answer.usage_metadata.prompt_token_count, count)
    raises("unknown model", errors.ClientError, "NOT_FOUND", lambda: client.models.generate_content(
        model="gemini-does-not-exist", contents="x"))
    check("models", any(m.name == "models/" + MODEL for m in client.models.list()))
    for version in ("v1", "v1alpha"):
        other = genai.Client(api_key="k", http_options={"base_url": URL + "/gemini",
                                                        "api_version": version})
        check(version, other.models.generate_content(model=MODEL, contents="x").text)
        one = upload(other, [line("p")])
        done = ended(other, other.batches.create(model=MODEL, src=one.name))
        check(version + " batch", list(lines_of(other, done)) == ["p"], done)


def plain(client):
    files(client)
    batches(client)
    realtime(client)


def faults(client):
    late = create(client, [line(f"k{i}") for i in range(40)])  # 1: slow
    until("start", lambda: client.batches.get(name=late.name), lambda j: j.state.name ==
          "JOB_STATE_RUNNING")
    client.batches.cancel(name=late.name)
    done = ended(client, late)
    lines = lines_of(client, done)
    check("canceled after the start", done.state.name == "JOB_STATE_SUCCEEDED" and
          any(item.get("error") == {"code": 1} for item in lines.values()), done)
    old = ended(client, create(client, [line("a")]))  # 2: stuck
    check("expired after 48 h", old.state.name == "JOB_STATE_EXPIRED" and not old.dest and
          (old.end_time - old.create_time).total_seconds() >= 172800, old)
    broken = ended(client, create(client, [line("a")]))  # 3
    check("failed", broken.state.name == "JOB_STATE_FAILED", broken)
    raw = json.loads(client._api_client.request("get", broken.name, {}).body)
    check("error 13", raw["error"]["code"] == 13 and raw["done"] is True, raw)
    empty = ended(client, create(client, [line("a")]))  # 4
    check("no output yet", empty.state.name == "JOB_STATE_SUCCEEDED" and not empty.dest, empty)
    until("output", lambda: client.batches.get(name=empty.name), lambda j: j.dest)
    short = ended(client, create(client, [line("blocked"), line("code-1"), line("lost"),
                                          line("twice")]))  # 5: inline
    items = short.dest.inlined_responses
    keys = [item.metadata["key"] for item in items]
    check("inline answer", sorted(keys) == ["blocked", "code-1", "twice", "twice"], keys)
    found = {item.metadata["key"]: item for item in items}
    check("blocked prompt", found["blocked"].response.prompt_feedback.block_reason.name ==
          "PROHIBITED_CONTENT" and not found["blocked"].response.candidates, found["blocked"])
    check("code 1", found["code-1"].error.code == 1, found["code-1"])
    raises("429 with a time", errors.ClientError, "'retryDelay': '27s'", lambda: create(
        client, [line("a")]))  # 6
    raises("429 without", errors.ClientError, "google.rpc.Help", lambda: create(
        client, [line("a")]))  # 7
    before = len(list(client.batches.list()))
    raises("ambiguous", errors.ServerError, "503", lambda: create(client, [line("a")], "ghost"))  # 8
    after = list(client.batches.list())
    check("but made", len(after) == before + 1 and after[0].display_name == "ghost", after)
    raises("error with 200: no file", Exception, "", lambda: upload(client, b"no-jsonl"))
    raises("no batches here", errors.ClientError, "NOT_FOUND", lambda: client.batches.create(
        model=MODEL, src=[ask("x")]))


client = genai.Client(api_key="k", http_options={"base_url": URL})
{"plain": plain, "faults": faults}[KIND](client)
finish(f"python google-genai {genai.__version__} {KIND}")
