"""Money: what was bought, what it cost, what of it was in vain, and the cap.

Behaviour: `cost` adds up the ledger by job, model and day, to the micro-dollar, prompt-length tiers and
           kinds of cache tokens included; what was thrown away or asked again is told with its reason
           and cost, by `cost`, `status` and `show`; `--max-cost` is a hard cap over spent plus
           reserved, also for what is asked again and after a restart.
Oracle:    the emulator's bill times the prices of prices.yaml, in exact fractions, rounded once per
           request; the tables of the ledger read behind the program's back.
"""
import collections
import datetime
import decimal
import fractions
import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import ROOT, clock  # noqa: E402
from wire import SCHEMA, write_pipeline  # noqa: E402

KINDS = {"input": "input_tokens", "write_5m": "cache_write_5m_tokens",
         "write_1h": "cache_write_1h_tokens", "read": "cache_read_tokens", "output": "output_tokens"}


def prices():
    """[(models, largest prompt, {kind: dollars per million})] of the batch prices."""
    found, models, most = [], None, None
    for line in (ROOT / "prices.yaml").read_text().splitlines():
        if match := re.match(r"- model: \[?([^\]]*)\]?", line):
            models, most = [m.strip() for m in match[1].split(",")], None
        elif match := re.match(r"  max_prompt: (\d+)", line):
            most = int(match[1])
        elif match := re.match(r"  batch: \{(.*)\}", line):
            row = dict(part.split(": ") for part in match[1].split(", "))
            found.append((models, most, {k: fractions.Fraction(v) for k, v in row.items()}))
    return found


PRICES = prices()


def price_of(line):
    """Micro-dollars of a line of the bill: dollars per million tokens are micro-dollars a token."""
    tokens = {kind: line[name] for kind, name in KINDS.items()}
    prompt = sum(n for kind, n in tokens.items() if kind != "output")
    fits = [(most or float("inf"), row) for models, most, row in PRICES
            if any(line["model"] == m or (m.endswith("*") and line["model"].startswith(m[:-1]))
                   for m in models) and (most is None or prompt <= most)]
    row = min(fits, key=lambda f: f[0])[1]
    exact = sum((n * row[kind] for kind, n in tokens.items()), fractions.Fraction(0))
    return int(decimal.Decimal(exact.numerator) / decimal.Decimal(exact.denominator) +
               decimal.Decimal("0.5")), tokens


def billed(emulator):
    """{model: [requests, micro-dollars, {kind: tokens}]} of the bill."""
    sums = collections.defaultdict(lambda: [0, 0, collections.Counter()])
    for line in emulator.bill():
        if line["state"] == "succeeded":
            cost, tokens = price_of(line)
            entry = sums[line["model"]]
            entry[0] += 1
            entry[1] += cost
            entry[2].update(tokens)
    return sums


def same_tokens(told, counted):
    return told == {kind: counted.get(kind, 0) for kind in KINDS}


PIPELINE = """
pipeline: tiers
about: two models, long prompts and cached ones
params:
  path: {about: input, type: path, required: true}
inputs:
  items: {csv: "{{path}}"}
records: SELECT id AS key, word, long FROM items
requests:
  short: {model: claude-haiku-5-5, max_tokens: 60, system: s.md, cache: 1h, user: "About {{word}}",
          answer: a.json}
  other: {model: claude-haiku-4-5, max_tokens: 60, system: s.md, cache: 5m, user: "Again {{word}}",
          answer: a.json}
  long: {model: claude-haiku-5-5, max_tokens: 60, when: long, user: u.md, answer: a.json}
outputs:
  - csv: answers.csv
    key: [id, request]
    rows: SELECT key AS id, request, answer ->> 'text' AS text FROM answers
batch: {requests: 4}
"""


@pytest.fixture
def tiers(tmp_path):
    folder = tmp_path / "tiers"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "a.json").write_text(json.dumps(SCHEMA))
    (folder / "s.md").write_text("You answer in few words. " * 400)
    # 4 bytes a token (docs/reference/emulator.md): two prompts on either side of 100,000 tokens
    (folder / "u.md").write_text("{{#long}}" + "abc " * 99_000 + "{{long}}{{/long}}")
    (folder / "items.csv").write_text("id,word,long\n" + "".join(
        f"r{i},word{i},{['', 'abc ' * 500, 'abc ' * 2000][i % 3]}\n" for i in range(6)))
    return folder


def test_costs_are_those_of_the_bill(connected, tiers):
    offpeak = connected(speed=3000)
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    offpeak.run("run", tiers, "--path", tiers / "items.csv", expect=0)
    bill = billed(offpeak.emulator)
    assert len(bill) == 2
    assert all(any(entry[2][k] for entry in bill.values()) for k in KINDS), "a kind is not tried"
    longest = max(price_of(b)[1]["input"] for b in offpeak.emulator.bill()
                  if b["state"] == "succeeded")
    assert longest > 100_000, "the second tier is not tried"

    cost = offpeak.json("cost", "--by", "model", expect=0)
    assert cost["version"] == 1 and cost["by"] == ["model"]
    assert [c["model"] for c in cost["costs"]] == ["claude-haiku-4-5", "claude-haiku-5-5"]
    for line in cost["costs"]:
        count, micro, tokens = next(v for m, v in bill.items() if m.startswith(line["model"]))
        assert (line["requests"], line["microusd"]) == (count, micro)
        assert same_tokens(line["tokens"], tokens)
    total = cost["total"]
    assert total["microusd"] == sum(v[1] for v in bill.values())
    assert total["microusd"] == offpeak.ledger("SELECT sum(microusd) FROM result")[0][0]
    assert (total["lost_microusd"], cost["reserved_microusd"]) == (0, 0)
    assert cost["imported"]["requests"] == 0

    # every other way to cut it has the same sum, and the text says it exactly
    for by in ("job", "day", "job,day", "job,model,day"):
        lines = offpeak.json("cost", "--by", by, expect=0)["costs"]
        assert sum(c["microusd"] for c in lines) == total["microusd"]
        assert sum(c["requests"] for c in lines) == total["requests"]
    dollars = f"${total['microusd'] // 10**6}.{total['microusd'] % 10**6:06}"
    assert f"total     {dollars} for {total['requests']} requests" in offpeak.run("cost").stdout


def test_days_and_jobs(connected, tmp_path):
    """Two jobs, of which the provider says that it took them on different days."""
    offpeak = connected(speed=3000, faults=[{"on": "create", "nth": 2, "do": "created_skew",
                                             "ms": 172_800_000}])
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    for name in ("one", "two"):
        folder = write_pipeline(tmp_path / name, 3, 3)
        offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    spent = dict(offpeak.ledger("SELECT id, spent_microusd FROM job"))
    lines = offpeak.json("cost", "--by", "job")["costs"]
    assert {c["job"]: c["microusd"] for c in lines} == {f"job-{k}": v for k, v in spent.items()}
    only = offpeak.json("cost", "job-2")
    assert only["total"]["microusd"] == spent[2]

    days = {c["day"]: c["microusd"] for c in offpeak.json("cost", "--by", "day")["costs"]}
    expected = collections.Counter()
    for accepted, micro in offpeak.ledger("SELECT accepted_ms, spent_microusd FROM batch"):
        moment = datetime.datetime.fromtimestamp(accepted / 1000, datetime.timezone.utc)
        expected[moment.strftime("%Y-%m-%d")] += micro
    assert days == expected
    first, last = min(days), max(days)
    assert first < last
    assert offpeak.json("cost", "--since", first, "--until", last)["total"]["microusd"] == \
        sum(spent.values())
    assert offpeak.json("cost", "--until", first)["total"]["microusd"] == days[first]
    before = (datetime.date.fromisoformat(first) - datetime.timedelta(1)).isoformat()
    assert offpeak.json("cost", "--until", before)["costs"] == []
    after = (datetime.date.fromisoformat(last) + datetime.timedelta(1)).isoformat()
    assert offpeak.json("cost", "--since", after)["total"]["requests"] == 0


def test_nothing_bought_and_bad_options(offpeak):
    empty = offpeak.json("cost", expect=0)
    assert empty["costs"] == [] and empty["total"]["microusd"] == 0
    for args, word in ((["--by", "week"], "job, model, provider or day"), (["--since", "20.11.2026"], "--since"),
                       (["--until", "2026-13-01"], "--until")):
        done = offpeak.run("cost", *args, expect=2)
        assert word in done.stderr


def losses(told):
    """{reason: (asked again, paid, given up, paid)} of what is not zero."""
    return {reason: tuple(v.values()) for reason, v in told["lost"].items() if any(v.values())}


def test_what_was_paid_in_vain(connected, tmp_path):
    """Of six answers one is invalid once, one always, one is cut once, one errs for good. What that cost
    is in the ledger's results; the bill has a line for each of them."""
    folder = write_pipeline(tmp_path / "vain", 6, 6)
    faults = [{"on": "results", "do": "invalid_answer", "how": "missing", "match": "word1\"", "nth": 1},
              {"on": "results", "do": "invalid_answer", "how": "wrong_type", "match": "word2\""},
              {"on": "results", "do": "truncated_answer", "match": "word3\"", "nth": 1},
              {"on": "results", "do": "error_line", "type": "invalid_request_error",
               "message": "no such thing", "match": "word4\""}]
    offpeak = connected(speed=3000, faults=faults)
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    done = offpeak.run("run", folder, "--path", folder / "items.csv", expect=3)
    rows = offpeak.ledger("""SELECT r.key, x.class, x.valid, x.microusd FROM result x
        JOIN request q ON q.id = x.request_id JOIN record r ON r.id = q.record_id
        ORDER BY x.request_id, x.batch_id""")
    paid = collections.defaultdict(list)
    for key, _, _, micro in rows:
        paid[key].append(micro)
    assert [len(paid[f"r00{i}"]) for i in range(6)] == [1, 2, 2, 2, 1, 1]
    assert paid["r004"] == [0] and min(sum(v) for k, v in paid.items() if k != "r004") > 0
    expected = {"invalid": (2, paid["r001"][0] + paid["r002"][0], 1, paid["r002"][1]),
                "truncated": (1, paid["r003"][0], 0, 0),
                "failed": (0, 0, 1, 0)}
    cost = offpeak.json("cost")["total"]
    assert losses(cost) == expected
    assert cost["lost_microusd"] == sum(v[1] + v[3] for v in expected.values())
    assert cost["microusd"] == sum(map(sum, paid.values())) == \
        sum(v[1] for v in billed(offpeak.emulator).values())
    job = offpeak.json("status", "job-1")["jobs"][0]
    assert losses(job) == expected and job["counts"]["reasked"] == 3
    for text in (done.stdout, offpeak.run("status", "job-1").stdout, offpeak.run("cost").stdout):
        assert re.search(r"invalid +2 asked again, paid \$0\.\d{6} in vain; 1 given up", text), text
        assert re.search(r"truncated +1 asked again", text) and re.search(r"failed +1 given up", text)

    # each purchase of a record, with its batch, class, tokens, cost and why it was asked again
    story = offpeak.json("show", "r002", "--job", "job-1")["requests"][0]["results"]
    assert [s["microusd"] for s in story] == paid["r002"]
    assert [(s["batch"], s["class"], s["valid"], s["lost"], s["asked_again"]) for s in story] == \
        [("batch-1", "succeeded", False, "invalid", True),
         ("batch-2", "succeeded", False, "invalid", False)]
    assert all("text" in s["why"] and s["tokens"]["output"] > 0 for s in story)
    story = offpeak.json("show", "r003")["requests"][0]["results"]
    assert [(s["class"], s["lost"], s["asked_again"]) for s in story] == \
        [("truncated", "truncated", True), ("succeeded", None, False)]
    text = offpeak.run("show", "r003").stdout
    assert "truncated, asked again: the answer was cut at max_tokens" in text
    assert re.search(r"bought +batch-1 .*: truncated, \d+ in \+ \d+ out tokens, \$0", text)
    assert re.search(r"again +batch-2 .*: succeeded", text)


def usd(micro):
    return f"{micro // 10**6}.{micro % 10**6:06}"


def accepted(offpeak):
    return sum(1 for b in offpeak.emulator.bill() if b["state"] == "accepted")


def reserved_and_spent(offpeak):
    return offpeak.ledger("SELECT reserved_microusd, spent_microusd FROM batch ORDER BY id")


def test_the_cap_to_the_micro_dollar(connected, tmp_path):
    """One micro-dollar less than what a batch may cost: nothing is sent. Exactly that: it is."""
    folder = write_pipeline(tmp_path / "cap", 3, 3)
    offpeak = connected(speed=3000)
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    run = ["run", folder, "--path", folder / "items.csv", "--max-cost"]
    offpeak.run(*run, usd(1), expect=3)
    (reserved, _), = reserved_and_spent(offpeak)
    done = offpeak.run(*run, usd(reserved - 1), expect=3)
    assert "the cost cap" in done.stdout and usd(reserved) in done.stdout, done.stdout
    assert accepted(offpeak) == 0
    assert offpeak.json("cost")["reserved_microusd"] == reserved
    offpeak.run(*run, usd(reserved), expect=0)
    assert accepted(offpeak) == 3
    assert reserved_and_spent(offpeak)[0][1] <= reserved


def test_the_cap_holds_for_what_is_asked_again(connected, tmp_path):
    """Spent plus what asking again may cost is the edge, also for another process."""
    folder = write_pipeline(tmp_path / "again", 1, 1)
    faults = [{"on": "results", "do": "invalid_answer", "how": "missing", "match": "word0\"", "nth": 1}]
    known = connected(speed=3000, faults=faults)
    known.env["OFFPEAK_CLOCK"] = clock(3000)
    run = ["run", folder, "--path", folder / "items.csv"]
    known.run(*run, expect=0)
    (first, spent), (again, _) = reserved_and_spent(known)
    assert first < spent + again, "the first batch must fit for the second to be tried"

    offpeak = connected(speed=3000, faults=faults)
    offpeak.env.update(OFFPEAK_CLOCK=clock(3000), OFFPEAK_STATE=str(tmp_path / "other"))
    offpeak.state = tmp_path / "other"
    done = offpeak.run(*run, "--max-cost", usd(spent + again - 1), expect=3)
    assert "the cost cap" in done.stdout
    assert reserved_and_spent(offpeak) == [(first, spent), (again, 0)], "another course than before"
    assert accepted(offpeak) == 1
    for command in ("recover", "fetch"):  # other processes know the cap as well
        offpeak.run(command, *(["job-1"] if command == "fetch" else ["--no-wait"]), expect=3)
    assert accepted(offpeak) == 1
    offpeak.run(*run, "--max-cost", usd(spent + again), expect=0)
    assert accepted(offpeak) == 2


def worst(params, model, most):
    """Micro-dollars that one request may cost: 3.5 ASCII bytes a token, every answer as long as may be
    (docs/design/money.md)."""
    raw = params.encode()
    assert raw.isascii()
    tokens = -(-len(raw) * 4 // 14)
    row = next(row for models, _, row in PRICES if model in models)
    exact = tokens * row["input"] + most * row["output"]
    return int(exact + fractions.Fraction(1, 2))


def test_the_cap_reads_ready_lines(connected, tmp_path):
    """A file of ready requests names a model and a limit on each line: those count, not the first's."""
    offpeak = connected(speed=3000)
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    asked = [("claude-haiku-4-5", 400), ("claude-opus-5-5", 9000), ("claude-haiku-4-5", 700)]
    params = [json.dumps({"model": model, "max_tokens": most,
                          "messages": [{"role": "user", "content": f"number {i}"}]})
              for i, (model, most) in enumerate(asked)]
    (offpeak.cwd / "r.jsonl").write_text("".join(
        f'{{"custom_id": "c{i}", "params": {p}}}\n' for i, p in enumerate(params)))
    expected = sum(worst(p, *a) for p, a in zip(params, asked))
    run = ["run", "r.jsonl", "--output", "out.jsonl", "--max-cost"]
    done = offpeak.run(*run, usd(expected - 1), expect=3)
    assert "the cost cap" in done.stdout and reserved_and_spent(offpeak) == [(expected, 0)]
    assert accepted(offpeak) == 0
    offpeak.run(*run, usd(expected), expect=0)
    cost = {c["model"]: c for c in offpeak.json("cost", "--by", "model")["costs"]}
    bill = billed(offpeak.emulator)
    assert {m: (c["requests"], c["microusd"]) for m, c in cost.items()} == \
        {m: (v[0], v[1]) for m, v in bill.items()} and len(cost) == 2


def test_the_cap_knows_of_more_room(connected, tmp_path):
    """An answer that was cut is asked for again with more room, which may cost more."""
    folder = write_pipeline(tmp_path / "room", 1, 1)
    offpeak = connected(speed=3000, faults=[{"on": "results", "do": "truncated_answer", "nth": 1}])
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    offpeak.run("run", folder, "--path", folder / "items.csv", expect=0)
    (first, _), (second, _) = reserved_and_spent(offpeak)
    params = [json.loads((offpeak.state / "spool" / file).read_text())["requests"][0]["params"]
              for file, in offpeak.ledger("SELECT file FROM batch ORDER BY id")]
    limits = [p["max_tokens"] for p in params]
    assert limits[1] > limits[0]
    row = next(row for models, _, row in PRICES if "claude-haiku-4-5" in models)
    assert second - first >= (limits[1] - limits[0]) * row["output"] - 1


def test_a_ready_line_without_a_price_cannot_be_capped(connected):
    offpeak = connected(speed=3000)
    offpeak.env["OFFPEAK_CLOCK"] = clock(3000)
    (offpeak.cwd / "r.jsonl").write_text("".join(
        json.dumps({"custom_id": m, "params": {"model": m, "max_tokens": 5, "messages": [
            {"role": "user", "content": "hello"}]}}) + "\n"
        for m in ("claude-haiku-4-5", "claude-unheard-of")))
    done = offpeak.run("run", "r.jsonl", "--output", "out.jsonl", "--max-cost", "100", expect=3)
    assert "no price for the model claude-unheard-of" in done.stdout and accepted(offpeak) == 0


def price_file(path, factor):
    """A list of one model, its prices so many times those of prices.yaml; to the micro-dollar per
    million tokens, as the format has it. Returns {kind: fraction} of batch and of realtime."""
    batch = {k: v * factor for k, v in next(r for m, _, r in PRICES if "claude-haiku-4-5" in m).items()}
    realtime = {k: 2 * v for k, v in batch.items()}
    text = {name: ", ".join(f"{k}: {decimal.Decimal(v.numerator) / v.denominator}" for k, v in row.items())
            for name, row in (("batch", batch), ("realtime", realtime))}
    path.write_text(f"- model: [claude-haiku-4-5, claude-haiku-4-5-20*]\n  provider: anthropic\n"
                    f"  as_of: 2026-11-20\n  realtime: {{{text['realtime']}}}\n"
                    f"  batch: {{{text['batch']}}}\n")
    return batch, realtime


def at(prices, lines):
    """Micro-dollars of lines of the bill, each rounded half up by itself."""
    return sum(int(sum((line[name] * prices[kind] for kind, name in KINDS.items()), fractions.Fraction(1, 2)))
               for line in lines)


def succeeded(offpeak):
    return [line for line in offpeak.emulator.bill() if line["state"] == "succeeded"]


@pytest.mark.parametrize("mode", ["batch", "realtime"])
def test_a_bill_is_by_the_prices_of_the_day_it_was_made(connected, tmp_path, mode):
    """The list changes between create and fetch: what was built with the old one is counted, and
    reserved, by the old one; what is built afterwards by the new one. Oracle: the bill times either."""
    folder = write_pipeline(tmp_path / "frozen", 4, 4)
    list_file = tmp_path / "prices.yaml"
    old, new = (price_file(list_file, factor)[mode == "realtime"] for factor in (1, 7))
    price_file(list_file, 1)
    offpeak = connected(speed=1000)
    offpeak.env.update(OFFPEAK_CLOCK=clock(1000), OFFPEAK_PRICES=str(list_file))
    run = ["run", folder, "--path", folder / "items.csv", "--mode", mode]
    if mode == "batch":
        offpeak.run("create", *run[1:], expect=3)
    else:
        offpeak.run(*run, OFFPEAK_FAULT="realtime.ended:1", expect=-9)
    assert offpeak.ledger("SELECT spent_microusd FROM batch") == [(0,)]
    (reserved, _), = reserved_and_spent(offpeak)
    price_file(list_file, 7)
    offpeak.run("recover", expect=0)
    bill = succeeded(offpeak)
    assert len(bill) == 4 and at(old, bill) != at(new, bill)
    assert offpeak.json("cost")["total"]["microusd"] == at(old, bill)
    assert reserved_and_spent(offpeak) == [(reserved, at(old, bill))]
    assert offpeak.ledger("SELECT reserved_microusd FROM job") == [(0,)]
    assert len(offpeak.ledger("SELECT 1 FROM price_list")) == 1
    offpeak.run("doctor", "--audit", expect=0)

    before = offpeak.json("cost")["total"]["microusd"]
    offpeak.run(*run, "--fresh", expect=0)
    assert offpeak.json("cost")["total"]["microusd"] - before == at(new, succeeded(offpeak)[len(bill):])
    assert len(offpeak.ledger("SELECT 1 FROM price_list")) == 2
    offpeak.run("doctor", "--audit", expect=0)


def test_a_price_that_is_added_lets_the_cap_go_on(connected, tmp_path):
    """Built without a price, a batch has nothing reserved; with one on the list it is built anew."""
    folder = write_pipeline(tmp_path / "late", 2, 2)
    list_file = tmp_path / "prices.yaml"
    old, _ = price_file(list_file, 1)
    text = list_file.read_text()
    list_file.write_text(text.replace("claude-haiku-4-5", "claude-other"))
    offpeak = connected(speed=3000)
    offpeak.env.update(OFFPEAK_CLOCK=clock(3000), OFFPEAK_PRICES=str(list_file))
    run = ["run", folder, "--path", folder / "items.csv", "--max-cost"]
    done = offpeak.run(*run, "1", expect=3)
    assert "no price for the model claude-haiku-4-5" in done.stdout and accepted(offpeak) == 0
    assert reserved_and_spent(offpeak) == [(0, 0)]
    list_file.write_text(text)
    done = offpeak.run(*run, "0.000001", expect=3)
    assert "may cost" in done.stdout and accepted(offpeak) == 0, done.stdout
    offpeak.run(*run, "1", expect=0)
    assert accepted(offpeak) == 2
    assert [s for s, in offpeak.ledger("SELECT state FROM batch ORDER BY id")] == ["dropped", "sealed"]
    assert offpeak.json("cost")["total"]["microusd"] == at(old, succeeded(offpeak))
    offpeak.run("doctor", "--audit", expect=0)
