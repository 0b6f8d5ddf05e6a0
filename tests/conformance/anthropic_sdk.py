"""The official Python SDK against the emulator: anthropic_sdk.py URL plain|faults.

Behaviour: every batch call of the SDK works unmodified. Oracle: the SDK's own types and exceptions,
and the texts of the API reference.
"""
import sys
import time

import anthropic

URL, KIND = sys.argv[1], sys.argv[2]
MODEL = "claude-haiku-4-5"
passed = failed = 0


def check(name, ok, seen=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"  FAILED {name}: {seen!r}")


def raises(name, kind, text, call):
    try:
        call()
    except kind as error:
        check(name, text in str(error), str(error))
    except Exception as error:  # another kind of error is the failure to report
        check(name, False, error)
    else:
        check(name, False, "no error")


def request(custom_id, **changes):
    params = {"model": MODEL, "max_tokens": 200,
              "messages": [{"role": "user", "content": f"Classify <issue id=\"{len(custom_id)}\">"
                            "the printer is on fire</issue>"}]}
    params.update(changes)
    return {"custom_id": custom_id, "params": params}


def ended(client, batch_id):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        batch = client.messages.batches.retrieve(batch_id)
        if batch.processing_status == "ended":
            return batch
        time.sleep(0.02)
    raise SystemExit("the batch did not end")


def plain(client):
    batches = client.messages.batches
    made = [batches.create(requests=[request(f"one-{i}"), request(f"two-{i}")]) for i in range(7)]
    check("create", all(b.id.startswith("msgbatch_") for b in made))
    check("create status", made[0].processing_status == "in_progress", made[0])
    check("create counts", made[0].request_counts.processing == 2, made[0].request_counts)
    check("expires", (made[0].expires_at - made[0].created_at).total_seconds() == 86400)
    check("request id", made[0]._request_id.startswith("req_"), made[0]._request_id)

    listed = [b.id for b in batches.list(limit=3)]
    check("list pages, newest first", listed == [b.id for b in reversed(made)], listed)
    page = batches.list(limit=2, after_id=made[5].id)
    check("after_id", [b.id for b in page.data] == [made[4].id, made[3].id], page.data)
    page = batches.list(limit=2, before_id=made[1].id)
    check("before_id", [b.id for b in page.data] == [made[3].id, made[2].id], page.data)
    back = [b.id for b in batches.list(limit=2, before_id=made[0].id)]
    check("pages backwards", sorted(back) == sorted(b.id for b in made[1:]), back)

    schema = {"type": "object", "additionalProperties": False, "required": ["label", "citations"],
              "properties": {"label": {"enum": ["bug", "idea"]},
                             "citations": {"type": "array", "items": {"type": "integer"}}}}
    mixed = batches.create(requests=[
        request("good"), request("bad-model", model="claude-does-not-exist-9"),
        request("stream", stream=True), request("zero", max_tokens=0),
        request("huge", max_tokens=10 ** 6), request("extra", surprise=1),
        request("json", output_config={"format": {"type": "json_schema", "schema": schema}}),
        request("tool", tools=[{"name": "label", "input_schema": schema}],
                tool_choice={"type": "tool", "name": "label"}),
        {"custom_id": "no-messages", "params": {"model": MODEL, "max_tokens": 5}}])
    raises("results before the end", anthropic.AnthropicError, "No `results_url`",
           lambda: batches.results(mixed.id))
    done = ended(client, mixed.id)
    counts = done.request_counts
    check("counts", (counts.succeeded, counts.errored, counts.processing) == (3, 6, 0), counts)
    lines = {line.custom_id: line.result for line in batches.results(mixed.id)}
    check("results", len(lines) == 9, sorted(lines))
    check("message", lines["good"].message.content[0].text, lines["good"])
    check("usage", lines["good"].message.usage.service_tier == "batch")
    texts = {"bad-model": "model: claude-does-not-exist-9",
             "stream": '"stream=True" is not supported in the Message Batches API',
             "zero": "max_tokens: must be greater than or equal to 1",
             "huge": "max_tokens: 1000000 > 64000, which is the maximum allowed number of output"
                     " tokens for claude-haiku-4-5",
             "extra": "surprise: Extra inputs are not permitted",
             "no-messages": "messages: Field required"}
    for name, text in texts.items():
        check(name, lines[name].type == "errored" and lines[name].error.error.message == text,
              lines[name])
    check("error type", lines["bad-model"].error.error.type == "not_found_error")
    import json
    answer = json.loads(lines["json"].message.content[0].text)
    check("schema", answer["label"] in ("bug", "idea") and set(answer["citations"]) <= {4}, answer)
    check("tool", lines["tool"].message.stop_reason == "tool_use" and
          lines["tool"].message.content[0].input["label"] in ("bug", "idea"), lines["tool"])

    canceled = batches.create(requests=[request("x"), request("y")])
    after = batches.cancel(canceled.id)
    check("cancel", after.processing_status in ("canceling", "ended") and after.cancel_initiated_at,
          after)
    counts = ended(client, canceled.id).request_counts
    check("cancel counts", counts.canceled + counts.succeeded == 2, counts)
    kinds = {line.result.type for line in batches.results(canceled.id)}
    check("canceled lines", kinds <= {"canceled", "succeeded"}, kinds)

    gone = batches.delete(mixed.id)
    check("delete", gone.id == mixed.id and gone.type == "message_batch_deleted", gone)
    raises("get deleted", anthropic.NotFoundError, f"Message Batch {mixed.id} not found.",
           lambda: batches.retrieve(mixed.id))
    running = batches.create(requests=[request("r")])
    raises("delete running", anthropic.BadRequestError, "In progress batches cannot be deleted",
           lambda: batches.delete(running.id))
    raises("duplicate", anthropic.BadRequestError, "Duplicate custom_id found: dup",
           lambda: batches.create(requests=[request("dup"), request("dup")]))
    raises("empty", anthropic.BadRequestError, "at least 1 item after validation, not 0",
           lambda: batches.create(requests=[]))
    raises("long id", anthropic.BadRequestError, "requests.0.custom_id: String should have at most"
           " 64 characters", lambda: batches.create(requests=[request("x" * 65)]))
    raises("pattern", anthropic.BadRequestError, "String should match pattern",
           lambda: batches.create(requests=[request("a b")]))
    message = client.messages.create(**request("live")["params"])
    check("message", message.type == "message" and message.usage.output_tokens > 0, message)
    counted = client.messages.count_tokens(model=MODEL, messages=request("live")["params"]["messages"])
    check("count_tokens", counted.input_tokens == message.usage.input_tokens, counted)
    names = [model.id for model in client.models.list(limit=5)]
    check("models", "claude-haiku-5-5" in names and len(names) > 5, names)
    check("model", client.models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5-20251001")
    beta = client.beta.messages.batches.retrieve(running.id)
    check("beta path", beta.id == running.id, beta)
    prefixed = anthropic.Anthropic(base_url=URL + "/anthropic", api_key="k")
    over = ended(prefixed, running.id)
    check("prefix", "/anthropic/v1/" in over.results_url and
          len(list(prefixed.messages.batches.results(running.id))) == 1, over.results_url)
    bearer = anthropic.Anthropic(base_url=URL, auth_token="t", api_key=None)
    check("bearer", len(bearer.messages.batches.list(limit=1).data) == 1)


def faults(client):
    batches = client.messages.batches
    first = batches.create(requests=[request("a"), request("err-line")])  # creates 1 and 2
    check("529 is retried", first.id)
    batches.create(requests=[request("b")])  # 3 is accepted and dropped, 4 is the SDK's repetition
    check("dropped after commit: bought twice", len(batches.list().data) == 3,
          len(batches.list().data))
    done = ended(client, first.id)  # the first GET is a page of HTML
    check("html 502 is retried", done.processing_status == "ended")
    lines = {line.custom_id: line.result for line in batches.results(first.id)}
    check("errored line", lines["err-line"].error.error.type == "overloaded_error", lines)
    message = client.messages.create(**request("live")["params"])  # 429, then 2
    check("429 is retried", message.type == "message")
    raises("spend cap", anthropic.RateLimitError, "spend limit",
           lambda: client.with_options(max_retries=0).messages.create(**request("l")["params"]))
    refused = client.messages.create(**request("l", messages=[
        {"role": "user", "content": "please-refuse"}])["params"])
    check("refusal", refused.stop_reason == "refusal", refused)
    odd = batches.create(requests=[request("odd")])
    check("unknown fields and Z", odd.created_at and ended(client, odd.id), odd)


client = anthropic.Anthropic(base_url=URL, api_key="k")
{"plain": plain, "faults": faults}[KIND](client)
print(f"python anthropic {anthropic.__version__} {KIND}: {passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
