"""How fast, and in how much memory, a DynamoDB table of a million items is read: `offpeak validate`
reads the input whole (over the network, into the staged table) from a server that has its pages ready.
usage: dynamodb_scan.py [ITEMS]; OFFPEAK names the program."""
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(root / "tests" / "support"))
from dynamo import ENV, Dynamo, Table  # noqa: E402
from harness import OFFPEAK, environment  # noqa: E402

PAGE = 2500  # 400 bytes each, 1 MB
total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000


class Ready(Dynamo):
    def Scan(self, request):
        at = int(request.get("ExclusiveStartKey", {}).get("id", {}).get("S", "0"))
        page = dict(self.ready)
        page["Items"] = [dict(i, id={"S": str(at + n)}) for n, i in enumerate(self.ready["Items"])]
        if at + PAGE < total:
            page["LastEvaluatedKey"] = {"id": {"S": str(at + PAGE)}}
        return page


item = {"text": {"S": "x" * 300}, "cluster": {"N": "12"}, "score": {"N": "0.123456789"},
        "outlier": {"BOOL": False}, "map": {"M": {"a": {"N": "1"}, "b": {"S": "two"}}}}
with tempfile.TemporaryDirectory() as folder, Ready(check=False) as dynamo:
    dynamo.ready = {"Items": [item] * PAGE, "Count": PAGE}
    dynamo.tables["Big"] = Table("id")
    where = pathlib.Path(folder) / "p"
    where.mkdir()
    (where / "pipeline.yaml").write_text(
        "pipeline: p\nabout: scan\ninputs:\n  items: {dynamodb: Big}\n  n: {select: SELECT count(*) AS n FROM items}\n"
        "records: SELECT n AS key, n AS word FROM n\nrequests:\n"
        "  ask: {model: claude-haiku-4-5, max_tokens: 10, user: 'About {{word}}'}\n"
        "outputs:\n  - {csv: o.csv, key: [id], rows: SELECT key AS id FROM answers}\n")
    env = environment(DYNAMODB_ENDPOINT=dynamo.url, HOME=folder, OFFPEAK_STATE=folder + "/state",
                      ANTHROPIC_API_KEY="sk-ant-test-0123456789", **ENV)
    begun = time.monotonic()
    subprocess.run([OFFPEAK, "validate", str(where)], env=env, check=True, cwd=folder)
    seconds = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    pages = sum(o == "Scan" for o, _ in dynamo.calls)
    print(json.dumps({"items": total, "pages": pages, "seconds": round(seconds, 1),
                      "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
                      "peak_MB": round(used.ru_maxrss / 1024, 1)}))
