"""The official Mistral Python SDK against the emulator: mistral_sdk.py URL plain|faults.

Behaviour: files, jobs and the realtime calls of the SDK work unmodified. Oracle: the SDK's own types
and exceptions, and the facts of the API reference.
"""
import json
import sys
from importlib.metadata import version

from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from checks import check, finish, raises, until

URL, KIND = sys.argv[1], sys.argv[2]
MODEL, EMBED = "mistral-small-latest", "mistral-embed"
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
OVER = ("SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED")


def line(custom_id, **changes):
    body = {"messages": [{"role": "user", "content": f"Classify {custom_id}: printer on fire"}]}
    body.update(changes)
    return {"custom_id": custom_id, "body": body}


def jsonl(lines):
    return "".join(json.dumps(item) + "\n" for item in lines).encode()


def upload(client, lines):
    data = lines if isinstance(lines, bytes) else jsonl(lines)
    return client.files.upload(file={"file_name": "batch.jsonl", "content": data}, purpose="batch")


def create(client, lines, endpoint=CHAT, model=MODEL, **more):
    return client.batch.jobs.create(input_files=[upload(client, lines).id], endpoint=endpoint,
                                    model=model, **more)


def ended(client, job):
    return until(job.id, lambda: client.batch.jobs.get(job_id=job.id), lambda j: j.status in OVER)


def lines_of(client, file_id):
    text = client.files.download(file_id=file_id).read().decode()
    return {item["custom_id"]: item for item in map(json.loads, text.splitlines())}


def files(client):
    data = jsonl([line("a"), line("b")])
    one = upload(client, data)
    check("file", one.size_bytes == len(data) and one.purpose == "batch" and one.num_lines == 2 and
          one.sample_type == "batch_request" and one.source == "upload", one)
    seen = client.files.retrieve(file_id=one.id)
    check("retrieve", seen.id == one.id and seen.filename == "batch.jsonl" and not seen.deleted, seen)
    check("download", client.files.download(file_id=one.id).read() == data)
    two = upload(client, data)
    page = client.files.list(page=0, page_size=1)
    check("list", [f.id for f in page.data] == [two.id] and page.total == 2, page)
    check("page 1", [f.id for f in client.files.list(page=1, page_size=1).data] == [one.id])
    check("signed url", one.id in client.files.get_signed_url(file_id=one.id).url)
    check("delete", client.files.delete(file_id=two.id).deleted)
    raises("deleted", SDKError, "No such File", lambda: client.files.retrieve(file_id=two.id))


def jobs(client):
    first = create(client, [line("a"), line("b"), line("bad", stream=True)], metadata={"tag": "t-1"})
    check("create", first.status == "QUEUED" and first.total_requests == 3 and
          first.completed_requests == 0 and first.model == MODEL and first.endpoint == CHAT, first)
    check("metadata", first.metadata == {"tag": "t-1"} and first.output_file is None, first)
    done = ended(client, first)
    check("success", done.status == "SUCCESS" and (done.succeeded_requests, done.failed_requests) ==
          (2, 1) and done.created_at <= done.started_at <= done.completed_at, done)
    out, bad = lines_of(client, done.output_file), lines_of(client, done.error_file)
    check("lines", set(out) == {"a", "b"} and set(bad) == {"bad"}, (out, bad))
    body = out["a"]["response"]["body"]
    check("the job's model", body["model"] == MODEL and body["choices"][0]["message"]["content"], body)
    check("error line", bad["bad"]["response"]["status_code"] == 400, bad)
    kinds = {f.sample_type for f in client.files.list().data}
    check("sample types", {"batch_request", "batch_result", "batch_error"} <= kinds, kinds)
    inline = client.batch.jobs.create(requests=[line("i")], endpoint=CHAT, model=MODEL)
    check("inline requests", ended(client, inline).status == "SUCCESS")
    shown = client.batch.jobs.get(job_id=inline.id, inline=True)
    check("inline outputs", shown.outputs[0]["custom_id"] == "i", shown)
    vectors = ended(client, create(client, [{"custom_id": "e", "body": {"input": "one"}}], EMBEDDINGS,
                                   EMBED))
    vector = lines_of(client, vectors.output_file)["e"]["response"]["body"]["data"][0]["embedding"]
    check("embeddings", len(vector) == 1024, len(vector))
    page = client.batch.jobs.list(page=0, page_size=2)
    check("list, newest first", [j.id for j in page.data] == [vectors.id, inline.id] and
          page.total == 3, page)
    page = client.batch.jobs.list(model=EMBED)
    check("by model", [j.id for j in page.data] == [vectors.id], page)
    running = create(client, [line("x"), line("y")])
    check("cancel", client.batch.jobs.cancel(job_id=running.id).status == "CANCELLATION_REQUESTED")
    check("cancelled", ended(client, running).status == "CANCELLED")
    failed = ended(client, create(client, b"{oops\n"))
    check("failed", failed.status == "FAILED" and failed.errors[0].count == 1, failed)
    check("delete", client.batch.jobs.delete(job_id=first.id).id == first.id)
    raises("deleted", SDKError, "does not exist", lambda: client.batch.jobs.get(job_id=first.id))
    raises("no file", SDKError, "does not exist", lambda: client.batch.jobs.create(
        input_files=["00000000-0000-4000-8000-000000000000"], endpoint=CHAT, model=MODEL))


def realtime(client):
    answer = client.chat.complete(model=MODEL, messages=[{"role": "user", "content": "one two three"}])
    check("chat", answer.choices[0].message.content and answer.choices[0].finish_reason == "stop" and
          answer.usage.total_tokens > 0, answer)
    typed = client.chat.complete(model=MODEL, messages=[{"role": "user", "content": "Label it"}],
                                 response_format={"type": "json_schema", "json_schema": {
                                     "name": "label", "strict": True, "schema_definition": {
                                         "type": "object", "required": ["label"], "properties": {
                                             "label": {"type": "string", "enum": ["bug", "idea"]}}}}})
    check("schema", json.loads(typed.choices[0].message.content)["label"] in ("bug", "idea"), typed)
    vectors = client.embeddings.create(model=EMBED, inputs=["a", "b"]).data
    check("embeddings", [len(v.embedding) for v in vectors] == [1024, 1024])
    check("models", MODEL in [m.id for m in client.models.list().data])
    raises("unknown model", SDKError, "does not exist", lambda: client.chat.complete(
        model="mistral-does-not-exist", messages=[{"role": "user", "content": "x"}]))
    raises("no key", SDKError, "Unauthorized", lambda: Mistral(server_url=URL).models.list())
    prefixed = Mistral(api_key="k", server_url=URL + "/mistral")
    check("prefix", ended(prefixed, create(prefixed, [line("p")])).status == "SUCCESS")


def plain(client):
    files(client)
    jobs(client)
    realtime(client)


def faults(client):
    old = ended(client, create(client, [line("a"), line("b")]))  # 1: expires
    check("timeout", old.status == "TIMEOUT_EXCEEDED" and not old.output_file, old)
    lost = ended(client, create(client, [line("zero"), line("lost"), line("twice")]))  # 2
    text = client.files.download(file_id=lost.output_file).read().decode()
    ids = [json.loads(item)["custom_id"] for item in text.splitlines()]
    check("missing and twice", ids == ["twice", "twice"], ids)
    check("status 0", lines_of(client, lost.error_file)["zero"]["response"]["status_code"] == 0)
    check("counts that lie", (lost.succeeded_requests, lost.failed_requests) == (3, 0), lost)
    empty = ended(client, create(client, [line("c")]))  # 3
    check("empty string", empty.error_file == "" and empty.output_file, empty)
    raises("queue", SDKError, "enqueued", lambda: create(client, [line("d")]))  # 4
    raises("accepted all the same", SDKError, "503", lambda: create(client, [line("e")]))  # 5
    check("it is there", client.batch.jobs.list().total == 4)
    raises("no batches here", SDKError, "404", lambda: create(client, [line("z")]))


client = Mistral(api_key="k", server_url=URL)
{"plain": plain, "faults": faults}[KIND](client)
finish(f"python mistralai {version('mistralai')} {KIND}")
