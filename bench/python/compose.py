#!/usr/bin/env python3
"""Articles to batch files, as one would write it: compose.py RECORDS PIPELINE_DIR OUT_DIR"""
import json
import sys

MODEL = "claude-haiku-5-5"
BATCH_REQUESTS, BATCH_BYTES = 100_000, 255_000_000


def requests(records, folder):
    with open(f"{folder}/system.md", encoding="utf-8") as f:
        system = f.read()
    with open(f"{folder}/items.schema.json", encoding="utf-8") as f:
        schema = json.load(f)
    with open(records, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield {
                "custom_id": record["key"],
                "params": {
                    "model": MODEL,
                    "max_tokens": 1000,
                    "output_config": {"format": {"type": "json_schema", "schema": schema}},
                    "system": system,
                    "messages": [{"role": "user",
                                  "content": f"Title: {record['title']}\n\n{record['body']}\n"}],
                },
            }


def compose(records, folder, out_dir):
    out, batches, count, size = None, 0, 0, 0
    for request in requests(records, folder):
        text = json.dumps(request, ensure_ascii=False)
        length = len(text.encode())
        if out and (count == BATCH_REQUESTS or size + length + 100 > BATCH_BYTES):
            out.write("]}")
            out.close()
            out = None
        if not out:
            batches, count, size = batches + 1, 0, 0
            out = open(f"{out_dir}/batch-{batches}.json", "w", encoding="utf-8")
            out.write('{"requests":[')
        out.write((",\n" if count else "") + text)
        count += 1
        size += length + 2
    if out:
        out.write("]}")
        out.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    compose(*sys.argv[1:])
