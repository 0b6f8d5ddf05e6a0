"""Our requests to Gemini against the API's own description.

Behaviour: every exchange of the driver has a path, a method, query parameters and a body that the
           OpenAPI description of the API knows.
Stimulus:  the requests that the unit test of the exchanges prints.
Oracle:    the description (v1beta, revision 20251218). What the path says need not be said again in
           the body: the official SDKs do not.
"""
import json
import pathlib
import re
import subprocess
import urllib.parse

import pytest

from harness import OFFPEAK, SHARED

SPEC = SHARED / "specs/gemini-openapi-v1beta-rev20251218.json"
PRINTER = pathlib.Path(OFFPEAK).parent / "tests/unit/provider_test_gemini_exchanges"
# Bound by the path, or set by the server though the upload names them (gemini.md 1.1 and 3).
BOUND = {"model"}
# Said in the upload's first request by both SDKs, read-only in the description.
UPLOAD_EXTRA = {"mimeType", "sizeBytes"}


@pytest.fixture(scope="module")
def spec():
    if not SPEC.exists():
        pytest.skip(f"the API's description is not here: {SPEC}")
    return json.loads(SPEC.read_text())


def requests():
    done = subprocess.run([PRINTER, "--print"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 11
    return lines


def operation(spec, method, path):
    """The operation of a path without its query; templates hold one segment."""
    for template, item in spec["paths"].items():
        parts = re.split(r"\{[^}]*\}", template)
        pattern = "[^/:]+".join(map(re.escape, parts))
        if method.lower() in item and re.fullmatch(pattern, path):
            return item, item[method.lower()]
    raise AssertionError(f"{method} {path} is no operation of the API")


def problems(spec, schema, value, at=""):
    """What is wrong with value, as sentences: types, enums, unknown members, missing ones."""
    while "$ref" in schema or len(schema.get("allOf", [])) == 1:
        schema = schema["allOf"][0] if "allOf" in schema else spec["components"]["schemas"][
            schema["$ref"].rsplit("/", 1)[1]]
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
             "number": (int, float)}
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or
                 isinstance(value, bool) != (kind == "boolean")):
        return [f"{at or '/'} is no {kind}: {value!r}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at} is none of {schema['enum']}: {value!r}")
    if schema.get("format") == "int64" and not re.fullmatch(r"-?\d+", str(value)):
        found.append(f"{at} is no 64-bit number: {value!r}")
    if kind == "array":
        for i, item in enumerate(value):
            found += problems(spec, schema.get("items", {}), item, f"{at}/{i}")
    if kind == "object":
        known = schema.get("properties", {})
        more = schema.get("additionalProperties")
        for name, item in value.items():
            if name in known:
                if known[name].get("readOnly") and name not in UPLOAD_EXTRA:
                    found.append(f"{at}/{name} is read-only")
                found += problems(spec, known[name], item, f"{at}/{name}")
            elif isinstance(more, dict):
                found += problems(spec, more, item, f"{at}/{name}")
            else:
                found.append(f"{at}/{name} is unknown")
        # Alternatives stand alone: the SDKs write no type beside anyOf.
        implied = {"type"} if "anyOf" in value else set()
        for name in set(schema.get("required", [])) - set(value) - BOUND - implied:
            found.append(f"{at}/{name} is missing")
    return found


def test_gemini_requests_fit_the_description(spec):
    for request in requests():
        url = urllib.parse.urlsplit(request["path"])
        path = url.path.removeprefix("/upload")
        item, op = operation(spec, request["method"], path)
        given = {p["name"] for p in op.get("parameters", [])}
        for shared in item.get("parameters", []):
            ref = spec["components"]["parameters"][shared["$ref"].rsplit("/", 1)[1]]
            given |= {ref["name"], ref["name"].lstrip("$")}  # the SDKs send "alt", not "$alt"
        for name in urllib.parse.parse_qs(url.query):
            assert name in given, f"{request['name']}: query parameter {name}"
        body = op.get("requestBody")
        if request["body"] is None:
            assert not (body or {}).get("required"), request["name"]
            continue
        if not body:
            assert request["body"] == {}, request["name"]
            continue
        schema = body["content"]["application/json"]["schema"]
        assert problems(spec, schema, request["body"]) == [], request["name"]


def test_the_check_finds_what_is_wrong(spec):
    schema = {"$ref": "#/components/schemas/GenerateContentRequest"}
    good = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    assert problems(spec, schema, good) == []
    for change, mention in [
            ({"contents": None}, "no array"),
            ({"thinkingConfig": {}}, "unknown"),
            ({"generationConfig": {"maxOutputTokens": "5"}}, "no integer"),
            ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}, "none of"),
            ({"generationConfig": {"responseSchema": {"properties": {}}}}, "type is missing"),
            ({"generationConfig": {"responseSchema": {"type": "string"}}}, "none of")]:
        assert any(mention in p for p in problems(spec, schema, good | change)), change
    assert problems(spec, schema, {}) == ["/contents is missing"]
