"""Bodies of our forms, read by libraries that know these forms and nothing of us.

    outside.py FORM BODY NATIVE

NATIVE is the body of the same notices in the event log's own form, which everything is compared with. Prints one JSON object:
how many items were read, and what is wrong with them. Each check is also given an item that was spoilt, and has to object:
a validator that accepts everything is no validator.
"""

import copy
import json
import re
import sys


def ocsf(body, native):
    """The schema of the version that an event names, strict: what a class doesn't have may not be there."""
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schemas, compiled = {}, {}

    def problems(event):
        version = event["metadata"]["version"]
        if version not in schemas:
            schemas[version] = OcsfJsonSchemaEmbedded(get_ocsf_schema(version))
        schema = schemas[version]
        name = schema.lookup_class_name_from_uid(event["class_uid"])
        profiles = event["metadata"]["profiles"]
        key = (version, name, tuple(profiles))
        if key not in compiled:
            compiled[key] = Draft202012Validator(schema.get_class_schema(name, profiles))
        return [f"{name}{error.json_path[1:]}: {error.message}" for error in compiled[key].iter_errors(event)]

    events = [json.loads(line) for line in body.splitlines()]
    found = [problem for event in events for problem in problems(event)]
    for event, line in zip(events, native):
        if event["metadata"]["sequence"] != line["seq"]:
            found.append(f"event {event['metadata']['sequence']} stands where notice {line['seq']} should")
    spoilt = copy.deepcopy(events[0])
    del spoilt["device"]["type_id"]
    surplus = {**copy.deepcopy(events[0]), "command_line": "x"}
    return len(events), found, [problems(spoilt), problems(surplus)]


def otlp(body, native):
    """The protocol's own types, and the conventions' registry for the names of attributes that aren't ours."""
    import pkgutil
    from importlib import import_module

    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.semconv import _incubating
    from opentelemetry.semconv._incubating import attributes as registry
    from opentelemetry.semconv import attributes as stable

    del _incubating
    known = set()
    for package in (registry, stable):
        for module in pkgutil.iter_modules(package.__path__):
            constants = vars(import_module(f"{package.__name__}.{module.name}")).values()
            known.update(value for value in constants if isinstance(value, str))

    def unknown(message, path):
        found = [f"{path}: unknown field {field.field_number}" for field in UnknownFieldSet(message)]
        for field, value in message.ListFields():
            if field.message_type is not None:
                values = [value] if hasattr(value, "ListFields") else value
                for part in values:
                    found += unknown(part, f"{path}.{field.name}")
        return found

    def problems(data):
        request = ExportLogsServiceRequest()
        try:
            request.ParseFromString(data)
        except DecodeError as error:
            return request, [str(error)]
        found = unknown(request, "request")
        for of_job in request.resource_logs:
            records = [record for scope in of_job.scope_logs for record in scope.log_records]
            for attributes in [of_job.resource.attributes, *(record.attributes for record in records)]:
                names = [attribute.key for attribute in attributes]
                found += [f"{name} stands twice" for name in set(names) if names.count(name) > 1]
                found += [f"the registry has no {name}" for name in names if not name.startswith("runner_agent.") and name not in known]
        return request, found

    request, found = problems(body)
    records = [record for of_job in request.resource_logs for scope in of_job.scope_logs for record in scope.log_records]
    for record, line in zip(records, native):
        attributes = {attribute.key: attribute.value for attribute in record.attributes}
        if attributes["runner_agent.seq"].int_value != line["seq"]:
            found.append(f"a record stands where notice {line['seq']} should")
        if "process" in line:
            argv = [value.string_value for value in attributes["process.command_args"].array_value.values]
            if argv != line["process"]["argv"]:
                found.append(f"notice {line['seq']}: other arguments: {argv}")
    # A field that the request doesn't have, and a cut in the middle.
    return len(records), found, [problems(body + b"\x7a\x01x")[1], problems(body[:-3])[1]]


def cloudevents(body, native):
    """The specification's own library; the data has to be the log's line as it is."""
    from cloudevents.core.exceptions import CloudEventValidationError
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

    def read(event):
        try:
            return JSONFormat().read(CloudEvent, json.dumps(event)), []
        except CloudEventValidationError as error:
            return None, [str(error)]

    events = json.loads(body)
    found, ids = [], set()
    for event, line in zip(events, native):
        parsed, problems = read(event)
        found += problems
        if parsed is not None and parsed.get_data() != line:
            found.append(f"notice {line['seq']}: other data")
        ids.add((event["source"], event["id"]))
    if len(ids) != len(events):
        found.append("source and id don't tell events apart")
    spoilt = {name: value for name, value in events[0].items() if name != "source"}
    return len(events), found, [read(spoilt)[1], read({**events[0], "Run_Id": "x"})[1]]


def cef(body, native):
    """A parser of CEF, and what it read compared with the log."""
    import pycef

    def unescaped(text):
        return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), text)

    def problems(text, line):
        parsed = pycef.parse(text)
        if parsed is None:
            return ["it is no CEF to the parser"]
        # The parser puts a value that has a label under the label.
        parsed = {key: unescaped(value) for key, value in parsed.items()}
        wanted = {"cat": line["kind"], "DeviceVendor": "runner-agent", "CEFVersion": "0"}
        if line["kind"] == "file":
            wanted["filePath"] = line["path"]
        if "process" in line:
            wanted["sproc"] = line["process"]["exe"]
            wanted["spid"] = str(line["process"]["pid"])
        if line["kind"] == "connect":
            address = line["destination"]["ip"]
            wanted["Destination IPv6 Address" if ":" in address else "dst"] = address
        found = [f"notice {line['seq']}: {key} is {parsed.get(key)!r} and not {value!r}" for key, value in wanted.items() if parsed.get(key) != value]
        if not parsed.get("externalId", "").endswith(f"-{line['seq']}"):
            found.append(f"notice {line['seq']}: its id is {parsed.get('externalId')!r}")
        return found

    lines = body.decode().split("\n")[:-1]
    found = [problem for text, line in zip(lines, native) for problem in problems(text, line)]
    return len(lines), found, [problems(lines[0].replace("CEF:0|", "CEF|"), native[0]), problems(lines[1], native[0])]


def elastic(body, native):
    """What the maker's own client would send of the same actions and documents, line by line: it alone knows where metadata goes."""
    from elasticsearch.helpers import expand_action
    from elasticsearch.serializer import NdjsonSerializer

    def problems(text):
        lines = [json.loads(line) for line in text.splitlines()]
        sent = []
        for header, document in zip(lines[::2], lines[1::2]):
            for operation, metadata in header.items():
                sent += expand_action({"_op_type": operation, **metadata, "_source": document})
        by_client = NdjsonSerializer().dumps(sent)
        found = [f"line {number}: the client sends {theirs}" for number, (ours, theirs) in enumerate(zip(lines, sent), 1) if ours != theirs]
        if len(lines) != len(sent) or text[-1:] != by_client[-1:] or text.count(b"\n") != by_client.count(b"\n"):
            found.append("the client would send other lines")
        return found

    found = problems(body)
    lines = body.split(b"\n")
    for document, line in zip(lines[1::2], native):
        if json.loads(document)["runner_agent"]["seq"] != line["seq"]:
            found.append(f"another document stands where notice {line['seq']} should")
    surplus = b"\n".join([lines[0].replace(b'"_id"', b'"key"'), *lines[1:]])
    return body.count(b"\n") // 2, found, [problems(surplus), problems(body[:-1]), problems(b"\n".join(lines[:3]) + b"\n")]


def slack(body, native):
    """The maker's own types of blocks: each is read into its type, holds its limits, and is written again as it was."""
    from slack_sdk.errors import SlackObjectFormationError
    from slack_sdk.models.blocks import Block

    def problems(message):
        found = []
        for block in message["blocks"]:
            try:
                parsed = Block.parse(block)
                if parsed is None:
                    found.append(f"no block is a {block['type']}")
                elif parsed.to_dict() != block:
                    found.append(f"{block} is read as {parsed.to_dict()}")
            except (SlackObjectFormationError, TypeError) as error:
                found.append(f"{block['type']}: {error}")
        return found

    message = json.loads(body)
    long, other, surplus = (copy.deepcopy(message) for _ in range(3))
    long["blocks"][0]["text"]["text"] = "x" * 151
    other["blocks"][1]["type"] = "paragraph"
    surplus["blocks"][1]["color"] = "red"
    return 1, problems(message), [problems(long), problems(other), problems(surplus)]


def public_key(encoded):
    import base64

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded, validate=True))


def receipt(body, native):
    """What is signed, made by somebody else's canonical JSON and looked at by somebody else's ed25519."""
    import base64
    import hashlib

    import rfc8785
    from cryptography.exceptions import InvalidSignature

    def problems(fields):
        fields = dict(fields)
        signature = base64.b64decode(fields.pop("signature"), validate=True)
        text = b"runner-agent receipt 1\n" + rfc8785.dumps(fields)
        try:
            public_key(fields["key"]).verify(signature, text)
        except InvalidSignature:
            return ["the signature is of something else"]
        return []

    fields = json.loads(body)
    found = problems(fields)
    key_id = hashlib.sha256(base64.b64decode(fields["key"])).hexdigest()[:16]
    if fields["key_id"] != key_id:
        found.append(f"key_id is {fields['key_id']} and not {key_id}")
    wrong = {**fields, "account": {**fields["account"], "lost": fields["account"]["lost"] + 1}}
    return 1, found, [problems(wrong), problems({**fields, "mode": "audit"})]


def statement(body, native):
    """The envelope by a verifier of DSSE, the statement by in-toto's own types, and every field that the predicate requires."""
    import base64
    import hashlib

    from google.protobuf.json_format import ParseDict, ParseError
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    def lacks(value, path):
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value in (None, "", [], {})

    def problems(envelope):
        payload = json.loads(base64.b64decode(envelope["payload"], validate=True))
        embedded = payload["predicate"]["urn:runner-agent:receipt:1"]
        raw = base64.b64decode(embedded["key"])
        key_id = hashlib.sha256(raw).hexdigest()[:16]
        key = SSlibKey(key_id, "ed25519", "ed25519", {"public": raw.hex()})
        found = []
        try:
            Envelope.from_dict(copy.deepcopy(envelope)).verify([key], 1)
        except VerificationError as error:
            found.append(str(error))
        if envelope["payloadType"] != "application/vnd.in-toto+json":
            found.append(f"payloadType is {envelope['payloadType']}")
        try:
            parsed = ParseDict(payload, statement_pb2.Statement())
            wrapped = Statement([], parsed.predicate_type, {})
            wrapped.pb.CopyFrom(parsed)
            wrapped.validate()
        except (ParseError, ValueError, TypeError) as error:
            found.append(f"{type(error).__name__}: {error}")
        predicate = payload["predicate"]
        if payload["predicateType"] != "https://in-toto.io/attestation/runtime-trace/v0.1":
            found.append(f"predicateType is {payload['predicateType']}")
        required = ["monitor.type", "monitoredProcess.hostID", "monitoredProcess.type", "monitoredProcess.event", "monitorLog"]
        optional = ["monitor.configSource.digest.sha256", "monitor.tracePolicy", "monitorLog.process", "monitorLog.network", "monitorLog.fileAccess", "metadata.buildStartedOn", "metadata.buildFinishedOn"]
        found += [f"{path} is missing" for path in required + optional if lacks(predicate, path)]
        for entry in predicate["monitorLog"]["network"]:
            missing = {"ip", "hostname", "port", "protocol", "invokingProcess"} - set(entry)
            found += [f"network: {name} is missing" for name in missing]
        return found

    envelope = json.loads(body)
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["subject"] = []
    spoilt = {**envelope, "payload": base64.b64encode(json.dumps(payload).encode()).decode()}
    return 1, problems(envelope), [problems(spoilt), problems({**envelope, "payloadType": "text/plain"})]


def fleet(body, native):
    """The documented table and queries, in ClickHouse's own engine."""
    import pathlib

    from chdb import session

    folder = pathlib.Path("docs/fleet")
    boot = 1_768_468_818_000
    now = f"fromUnixTimestamp64Milli(toInt64({boot + 30 * 60_000}), 'UTC')"

    def ask(engine, name, **parameters):
        query = (folder / f"{name}.sql").read_text()
        for parameter, value in parameters.items():
            query = re.sub(r"\{%s:[^}]*\}" % parameter, str(value), query)
        said = engine.query(query, "JSONCompact")
        return json.loads(str(said))["data"]

    def found(lines):
        engine = session.Session()
        engine.query("CREATE DATABASE fleet ENGINE = Atomic")
        engine.query("USE fleet")
        engine.query((folder / "table.sql").read_text())
        rows = ", ".join("('" + line.replace("\\", "\\\\").replace("'", "\\'") + "')" for line in lines)
        engine.query(f"INSERT INTO notices (line) VALUES {rows}")
        rare = [[row[0], row[1], int(row[2]), int(row[3])] for row in ask(engine, "rare-destinations", repositories=2)]
        missing = [row[0] for row in ask(engine, "jobs-without-receipt", minutes=10, now=now)]
        silent = [row[0] for row in ask(engine, "silent-agents", minutes=5, now=now)]
        engine.close()
        return {"rare": rare, "missing": missing, "silent": silent}

    wanted = {
        "rare": [["drop.example", 443, 1, 1]],
        "missing": ["job-4", "job-5", "job-6"],
        "silent": ["job-6"],
    }
    lines = body.decode().split("\n")[:-1]
    says = found(lines)
    problems = [f"{name}: {says[name]} and not {value}" for name, value in wanted.items() if says[name] != value]
    # Without one receipt and without what the silent one's neighbour said, the answers have to change.
    fewer = [line for line in lines if not ('"receipt"' in line and '"job-0"' in line) and not ('"job-5"' in line and '"checkpoint"' in line)]
    other = found(fewer)
    return len(lines), problems, [[name] if other[name] != value else [] for name, value in wanted.items() if name != "rare"]


def webhook(folder, native):
    """Requests as they were received: a library for receivers has to take each, and none that was changed."""
    import datetime
    import pathlib

    from standardwebhooks.webhooks import Webhook, WebhookVerificationError

    hook = Webhook("whsec_cnVubmVyLWFnZW50LXRlc3RzLXNpZ24tdGhpcw==")

    def problems(headers, body):
        """The library takes JSON alone; of what is none, it makes the signature that there should be."""
        try:
            json.loads(body)
        except ValueError:
            moment = datetime.datetime.fromtimestamp(int(headers["webhook-timestamp"]), datetime.timezone.utc)
            wanted = hook.sign(headers["webhook-id"], moment, body.decode("latin-1")) if body.isascii() else None
            signatures = headers["webhook-signature"].split(" ")
            return [] if wanted is None or wanted in signatures else ["the signature is of something else"]
        try:
            hook.verify(body, headers)
        except WebhookVerificationError as error:
            return [f"{headers['webhook-id']}: {error}"]
        return []

    requests = []
    for path in sorted(pathlib.Path(folder).glob("*.headers")):
        headers = dict(line.split(": ", 1) for line in path.read_text().splitlines())
        requests.append((headers, path.with_suffix(".body").read_bytes()))
    signed = [request for request in requests if "webhook-signature" in request[0]]
    found = [problem for headers, body in signed for problem in problems(headers, body)]
    if not signed:
        found.append("nothing that arrived was signed")
    headers, body = next(request for request in signed if request[1].startswith(b"{") and request[1].count(b"\n") < 2)
    spoilt = [problems(headers, body.replace(b"{", b"{ ", 1)), problems({**headers, "webhook-id": "x"}, body)]
    return len(requests), found, spoilt


CHECKS = {"ocsf": ocsf, "otlp": otlp, "cloudevents": cloudevents, "cef": cef, "receipt": receipt, "statement": statement, "fleet": fleet, "webhook": webhook, "elastic-bulk": elastic, "slack": slack}


def main():
    form, body, native = sys.argv[1:]
    if form != "webhook":
        with open(body, "rb") as file:
            body = file.read()
    with open(native, "rb") as file:
        native = [json.loads(line) for line in file.read().splitlines()]
    # `splitlines` of text would take U+2028 for the end of one; of bytes it doesn't.
    received, problems, spoilt = CHECKS[form](body, native)
    problems += [f"spoilt item {number} was accepted" for number, objections in enumerate(spoilt) if not objections]
    json.dump({"received": received, "problems": problems}, sys.stdout)


main()
