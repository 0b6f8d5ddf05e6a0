"""What the OpenAI driver sends, against OpenAI's own OpenAPI file.

Behaviour: every request line and create call that the unit tests of the driver produce for OpenAI
           (tests/unit/provider/openai_requests.jsonl, which they compare byte for byte) is valid for
           the operation it goes to, and says nothing that the operation does not know.
Oracle:    ../shared/specs/openai.yaml, read with PyYAML and judged by the package jsonschema.
"""
import json

import pytest

from harness import ROOT, SHARED

yaml = pytest.importorskip("yaml", reason="PyYAML is not there (Debian: python3-yaml)")
jsonschema = pytest.importorskip("jsonschema",
                                 reason="jsonschema is not there (Debian: python3-jsonschema)")
SPEC = SHARED / "specs" / "openai.yaml"
GOLDEN = ROOT / "tests" / "unit" / "provider" / "openai_requests.jsonl"


def rows(kind):
    found = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    return [row[kind] for row in found if row["provider"] == "openai" and kind in row]


@pytest.fixture(scope="module")
def spec():
    if not SPEC.exists():
        pytest.skip(f"{SPEC.relative_to(ROOT.parent)} is not there")
    return yaml.load(SPEC.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def schema_of(spec, path):
    content, = spec["paths"][path]["post"]["requestBody"]["content"].values()
    return content["schema"]


def check(spec, path, body):
    resolver = jsonschema.RefResolver("", spec)
    validator = jsonschema.Draft202012Validator(schema_of(spec, path), resolver=resolver)
    problems = [f"{path}: /{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}"
                for e in validator.iter_errors(body)]
    assert problems == []
    assert set(body) <= known(spec, schema_of(spec, path)), path


def known(spec, schema):
    """The members that a schema made of references and allOf names: most are not closed."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return known(spec, spec["components"]["schemas"][name])
    return set(schema.get("properties", {})).union(
        *(known(spec, part) for part in schema.get("allOf", [])))


@pytest.mark.parametrize("line", rows("line"), ids=lambda line: line["custom_id"])
def test_lines(spec, line):
    assert set(line) == {"custom_id", "method", "url", "body"} and line["method"] == "POST"
    check(spec, line["url"].removeprefix("/v1"), line["body"])


@pytest.mark.parametrize("create", rows("create"), ids=lambda create: create["endpoint"])
def test_creates(spec, create):
    check(spec, "/batches", create)


def test_the_check_can_fail(spec):
    line, = [row for row in rows("line") if row["custom_id"] == "plain"]
    for bad in ({"store": "no"}, {"max_tokens": 1}, {"reasoning": {"effort": "huge"}}):
        with pytest.raises(AssertionError):
            check(spec, "/responses", {**line["body"], **bad})


def test_upload(spec):
    """The form of an upload: its two parts are what the operation requires (the bytes of the form
    are read back in test_openai_exchange.c)."""
    schema = spec["components"]["schemas"]["CreateFileRequest"]
    assert set(schema["required"]) == {"file", "purpose"}
    assert "batch" in schema["properties"]["purpose"]["enum"]
