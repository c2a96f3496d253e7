"""Receivers of a real job, by the libraries that their users use, and what each of them took.

    real.py serve FOLDER     an endpoint of OTLP/HTTP (/v1/logs) and one for webhooks (/hook); prints its port and serves
    real.py stream URL       makes a stream of NATS JetStream
    real.py messages URL     what is in it
    real.py figures FILE     how many samples a text of OpenMetrics has
    real.py table FILE       lines of OCSF, by way of a table of ClickHouse's engine

What was taken is printed, or appended to FOLDER/otlp.ndjson, as one JSON object a notice. The endpoint of OTLP is no collector: it
is the protocol's service as opentelemetry-proto has it, with requests and answers of those types.
"""

import gzip
import json
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serve(folder):
    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

    folder = pathlib.Path(folder)
    (folder / "hooks").mkdir()
    records = open(folder / "otlp.ndjson", "a", encoding="utf-8")
    lock = threading.Lock()
    count = 0

    def taken(record):
        attributes = {attribute.key: attribute.value for attribute in record.attributes}
        taken = {"seq": attributes["runner_agent.seq"].int_value, "id": attributes["log.record.uid"].string_value}
        if "process.executable.path" in attributes:
            taken["exe"] = attributes["process.executable.path"].string_value
        return taken

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = {"/v1/logs": self.logs, "/hook": self.hook}.get(self.path)
            status, kind, said = answer(body) if answer else (404, "text/plain", b"")
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def logs(self, body):
            if self.headers["content-type"] != "application/x-protobuf":
                return 415, "text/plain", b"protobuf is wanted"
            if self.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            request = ExportLogsServiceRequest()
            try:
                request.ParseFromString(body)
            except DecodeError as error:
                return 400, "text/plain", str(error).encode()
            if len(UnknownFieldSet(request)):
                return 400, "text/plain", b"unknown fields"
            found = [taken(record) for of_job in request.resource_logs for scope in of_job.scope_logs for record in scope.log_records]
            with lock:
                for each in found:
                    records.write(json.dumps(each) + "\n")
                records.flush()
            return 200, "application/x-protobuf", ExportLogsServiceResponse().SerializeToString()

        def hook(self, body):
            nonlocal count
            with lock:
                count += 1
                name = folder / "hooks" / f"{count:06}"
                name.with_suffix(".body").write_bytes(body)
                headers = "".join(f"{key.lower()}: {value}\n" for key, value in self.headers.items())
                name.with_suffix(".headers").write_text(headers)
            return 204, "text/plain", b""

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    print(server.server_address[1], flush=True)
    # Whoever started it holds the other end: with it this one goes too.
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever()


def by_nats(url, act):
    import asyncio

    import nats

    async def connected():
        client = await nats.connect(url)
        try:
            return await act(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(connected())


def stream(url):
    by_nats(url, lambda stream: stream.add_stream(name="CI", subjects=["ci.>"]))


def messages(url):
    async def read(stream):
        count = (await stream.stream_info("CI")).state.messages
        subscription = await stream.subscribe("ci.>", ordered_consumer=True)
        for _ in range(count):
            message = await subscription.next_msg(timeout=20)
            line = json.loads(message.data)
            print(json.dumps({"seq": line["seq"], "id": message.headers["Nats-Msg-Id"], "subject": message.subject, "line": line}))

    by_nats(url, read)


def table(file):
    from chdb import session

    engine = session.Session()
    engine.query("CREATE DATABASE fleet ENGINE = Atomic")
    engine.query("USE fleet")
    engine.query(pathlib.Path("docs/fleet/table.sql").read_text())
    engine.query(f"INSERT INTO notices (line) SELECT * FROM file('{file}', LineAsString)")
    # Not FINAL: what came twice is to be seen twice.
    query = "SELECT toUInt32(JSONExtractInt(line, 'metadata', 'sequence')) AS seq, uid AS id, kind, job FROM notices"
    print(str(engine.query(query, "JSONEachRow")), end="")
    engine.close()


def figures(file):
    """Strict: types, help, suffixes, order, and the end."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    families = list(text_string_to_metric_families(pathlib.Path(file).read_text()))
    print(sum(len(family.samples) for family in families))


ACTS = {"serve": serve, "stream": stream, "messages": messages, "table": table, "figures": figures}
ACTS[sys.argv[1]](sys.argv[2])
