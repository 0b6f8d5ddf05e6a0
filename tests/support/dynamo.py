"""A DynamoDB of our own for tests, on the standard library alone: a table is a dict, a page is a few
items, and every request's signature is computed anew from the AWS description of Signature Version 4.
Shares no code with the program. It can throttle, leave items undone, refuse and break connections
where a test says so."""
import hashlib
import hmac
import http.server
import json
import re
import threading

KEY, SECRET, TOKEN, REGION = "AKIDTEST", "wJalrXUtnFEMI/K7MDENG+secret", "FwoGZXIvYXdzEJr//token==", "eu-west-1"
ENV = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN,
       "AWS_REGION": REGION}


def signature(method, path, headers, body, secret, region, service="dynamodb"):
    """The Authorization header that the request should have, and its canonical form."""
    given = headers["authorization"]
    signed = re.search(r"SignedHeaders=([^,]+)", given).group(1).split(";")
    date = headers["x-amz-date"]
    missing = [name for name in signed if name not in headers]
    assert not missing, f"signed but not sent: {missing}"
    assert signed == sorted(signed) and "host" in signed and "x-amz-target" in signed, signed
    if "x-amz-security-token" in headers:
        assert "x-amz-security-token" in signed
    digest = hashlib.sha256(body).hexdigest()
    canonical = "\n".join([method, path, "", *(f"{n}:{' '.join(headers[n].split())}" for n in signed),
                           "", ";".join(signed), digest])
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in (date[:8], region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    sign = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return (f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={';'.join(signed)}, "
            f"Signature={sign}")


class Refusal(Exception):
    def __init__(self, kind, message="", status=400):
        super().__init__(kind)
        self.kind, self.message, self.status = kind, message, status


class Table:
    def __init__(self, hash_key, range_key=None, types=None, indexes=None):
        self.hash, self.range = hash_key, range_key
        self.types = types or {}
        self.indexes = indexes or {}
        self.items = {}

    def key(self, item):
        for name in filter(None, (self.hash, self.range)):
            want = self.types.get(name, "S")
            if name not in item or list(item[name]) != [want]:
                raise Refusal("ValidationException", f"Type mismatch for key {name} expected: {want}")
        return json.dumps([item[n] for n in (self.hash, self.range) if n], sort_keys=True)

    def put(self, item):
        self.items[self.key(item)] = item


class Dynamo:
    """with Dynamo() as d: d.tables["T"] = Table("id"); d.faults: what the next calls get instead."""

    def __init__(self, page=3, check=True):
        self.page, self.check = page, check
        self.tables, self.calls, self.faults = {}, [], []
        self.bad_signatures = []

    def __enter__(self):
        dynamo = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                dynamo.answer(self, body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, handler, body):
        headers = {k.lower(): v for k, v in handler.headers.items()}
        operation = headers["x-amz-target"].split(".")[-1]
        try:
            if self.check:
                try:
                    want = signature("POST", handler.path, headers, body, SECRET, REGION)
                    assert headers["authorization"] == want, (headers["authorization"], want)
                    assert headers.get("x-amz-security-token") == TOKEN
                    assert headers["content-type"] == "application/x-amz-json-1.0"
                except (AssertionError, KeyError) as e:
                    self.bad_signatures.append(repr(e))
                    raise Refusal("InvalidSignatureException", "does not match") from None
            request = json.loads(body)
            self.calls.append((operation, request))
            fault = next((f for f in self.faults if f[0] == operation), None)
            if fault:
                self.faults.remove(fault)
                if fault[1] == "drop":
                    handler.connection.close()
                    handler.close_connection = True
                    return
                raise Refusal(*fault[1:])
            status, reply = 200, getattr(self, operation)(request)
        except Refusal as e:
            status = e.status
            reply = {"__type": "com.amazonaws.dynamodb.v20120810#" + e.kind, "message": e.message}
        data = json.dumps(reply).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/x-amz-json-1.0")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    # --- operations ---

    def table(self, request):
        name = request["TableName"]
        if name not in self.tables:
            raise Refusal("ResourceNotFoundException", f"Table: {name} not found")
        return self.tables[name]

    def DescribeTable(self, request):
        t = self.table(request)

        def schema(h, r):
            return [{"AttributeName": h, "KeyType": "HASH"}] + \
                ([{"AttributeName": r, "KeyType": "RANGE"}] if r else [])
        names = {n for pair in [(t.hash, t.range), *t.indexes.values()] for n in pair if n}
        return {"Table": {
            "TableName": request["TableName"], "TableStatus": "ACTIVE", "KeySchema": schema(t.hash, t.range),
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t.types.get(n, "S")} for n in names],
            "GlobalSecondaryIndexes": [{"IndexName": n, "IndexStatus": "ACTIVE", "KeySchema": schema(*k)}
                                       for n, k in t.indexes.items()]}}

    def CreateTable(self, request):
        if request["TableName"] in self.tables:
            raise Refusal("ResourceInUseException", "Table already exists")

        def keys(schema):
            by = {k["KeyType"]: k["AttributeName"] for k in schema}
            return by["HASH"], by.get("RANGE")
        types = {a["AttributeName"]: a["AttributeType"] for a in request["AttributeDefinitions"]}
        self.tables[request["TableName"]] = Table(
            *keys(request["KeySchema"]), types,
            {i["IndexName"]: keys(i["KeySchema"]) for i in request.get("GlobalSecondaryIndexes", [])})
        return {"TableDescription": {}}

    def holds(self, expression, request, item):
        """One condition, or some with AND: '#h0 = :h0', 'begins_with(#r0, :r0)', '#r0 BETWEEN :a AND :b'."""
        names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
        for m in re.finditer(r"(begins_with|contains)\((#\w+), (:\w+)\)|(#\w+) BETWEEN (:\w+) AND (:\w+)|"
                             r"(#\w+) (=|<>|<=|<|>=|>) (:\w+)|(attribute_exists|attribute_not_exists)\((#\w+)\)",
                             expression):
            g = m.groups()
            if g[9]:
                if (names[g[10]] in item) != (g[9] == "attribute_exists"):
                    return False
                continue
            have = item.get(names[g[1] or g[3] or g[6]])
            wanted = [values[v] for v in (g[2], g[4], g[5], g[8]) if v]
            if have is None or any(list(have) != list(w) for w in wanted):
                return False
            number = list(have) == ["N"]
            a, *b = [float(v["N"]) if number else next(iter(v.values())) for v in [have, *wanted]]
            good = {"begins_with": lambda: a.startswith(b[0]), "contains": lambda: b[0] in a,
                    None: lambda: b[0] <= a <= b[-1], "=": lambda: a == b[0], "<>": lambda: a != b[0],
                    "<": lambda: a < b[0], "<=": lambda: a <= b[0], ">": lambda: a > b[0],
                    ">=": lambda: a >= b[0]}[g[0] or g[7]]()
            if not good:
                return False
        return True

    def read(self, request):
        t = self.table(request)
        items = list(t.items.values())
        if "KeyConditionExpression" in request:
            items = [i for i in items if self.holds(request["KeyConditionExpression"], request, i)]
        start = request.get("ExclusiveStartKey")
        at = next((n + 1 for n, i in enumerate(items) if start and t.key(i) == t.key(start)), 0)
        page = items[at:at + self.page]
        reply = {}
        if at + self.page < len(items):
            reply["LastEvaluatedKey"] = {n: page[-1][n] for n in (t.hash, t.range) if n}
        if "FilterExpression" in request:
            page = [i for i in page if self.holds(request["FilterExpression"], request, i)]
        if "ProjectionExpression" in request:
            take = [request["ExpressionAttributeNames"][n.strip()]
                    for n in request["ProjectionExpression"].split(",")]
            page = [{n: i[n] for n in take if n in i} for i in page]
        reply.update(Items=page, Count=len(page))
        return reply

    Query = Scan = read

    def BatchWriteItem(self, request):
        (name, puts), = request["RequestItems"].items()
        t = self.table({"TableName": name})
        items = [p["PutRequest"]["Item"] for p in puts]
        keys = [t.key(i) for i in items]
        if len(items) > 25 or len(set(keys)) < len(keys):
            raise Refusal("ValidationException", "more than 25, or a key twice")
        undone = getattr(self, "undone", 0)
        self.undone = max(0, undone - 1)
        left = puts[len(puts) // 2:] if undone else []
        for item in items[:len(items) - len(left)]:
            t.put(item)
        return {"UnprocessedItems": {name: left} if left else {}}

    def conditional(self, request, t, key):
        if "ConditionExpression" in request and not self.holds(
                request["ConditionExpression"], request, t.items.get(key, {})):
            raise Refusal("ConditionalCheckFailedException", "The conditional request failed")

    def PutItem(self, request):
        t = self.table(request)
        self.conditional(request, t, t.key(request["Item"]))
        t.put(request["Item"])
        return {}

    def GetItem(self, request):
        t = self.table(request)
        item = t.items.get(t.key(request["Key"]))
        return {"Item": item} if item else {}

    def UpdateItem(self, request):
        t = self.table(request)
        key = t.key(request["Key"])
        self.conditional(request, t, key)
        item = t.items.setdefault(key, dict(request["Key"]))
        expression = request.get("UpdateExpression", "")
        for name, value in re.findall(r"(#\w+) = (:\w+)", expression):
            item[request["ExpressionAttributeNames"][name]] = request["ExpressionAttributeValues"][value]
        for name in re.findall(r"#\w+", expression.partition("REMOVE")[2]):
            item.pop(request["ExpressionAttributeNames"][name], None)
        return {}
