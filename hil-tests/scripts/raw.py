"""The exporter at $JUMPSTARTER_HOST over bare gRPC, for what the client library hides."""

import json
import os
from contextlib import contextmanager

import grpc
import leave  # noqa: F401
from google.protobuf import empty_pb2, json_format, struct_pb2
from jumpstarter_protocol import jumpstarter_pb2, jumpstarter_pb2_grpc, router_pb2, router_pb2_grpc

DATA = router_pb2.FRAME_TYPE_DATA
GOAWAY = router_pb2.FRAME_TYPE_GOAWAY
EMPTY = empty_pb2.Empty()

# What a request can be refused with where no client cares for the difference.
REFUSED = "UNKNOWN", "NOT_FOUND", "INVALID_ARGUMENT"


class Exporter:
    """The services of an exporter. Every call has a deadline, so that a missing answer is a failure and not a hang."""

    DEADLINE = 20

    def __init__(self):
        host = os.environ["JUMPSTARTER_HOST"]
        target = f"unix:{host}" if host.startswith("/") else host
        if host.startswith("/") or os.environ.get("JMP_GRPC_INSECURE") == "1":
            self.channel = grpc.insecure_channel(target)
        else:
            self.channel = grpc.secure_channel(target, grpc.ssl_channel_credentials())
        passphrase = os.environ.get("JMP_GRPC_PASSPHRASE")
        self.metadata = [("x-jumpstarter-passphrase", passphrase)] if passphrase else []
        self.service = jumpstarter_pb2_grpc.ExporterServiceStub(self.channel)
        self.router = router_pb2_grpc.RouterServiceStub(self.channel)

    def report(self):
        """The tree, as the exporter reports it."""
        return self.service.GetReport(EMPTY, metadata=self.metadata, timeout=self.DEADLINE)

    def uuid(self, path):
        """The uuid of the driver with this dotted path; that of the root has no name."""
        report = self.report()
        uuid = report.reports[0].uuid
        for name in path.split("."):
            uuid = next(
                entry.uuid
                for entry in report.reports
                if entry.parent_uuid == uuid and entry.labels["jumpstarter.dev/name"] == name
            )
        return uuid

    def status(self):
        """The current status, as the message says it."""
        request = jumpstarter_pb2.GetStatusRequest()
        return self.service.GetStatus(request, metadata=self.metadata, timeout=self.DEADLINE)

    def end_session(self):
        """Ends the session of the current lease."""
        request = jumpstarter_pb2.EndSessionRequest()
        return self.service.EndSession(request, metadata=self.metadata, timeout=5)

    def logs(self):
        """The log stream, without a deadline."""
        return self.service.LogStream(EMPTY, metadata=self.metadata)

    def call(self, uuid, method, *args):
        """The result of a unary driver call."""
        request = jumpstarter_pb2.DriverCallRequest(uuid=uuid, method=method, args=[value(arg) for arg in args])
        response = self.service.DriverCall(request, metadata=self.metadata, timeout=self.DEADLINE)
        return json_format.MessageToDict(response.result)

    def streaming_call(self, uuid, method, *args):
        """The results of a streaming driver call."""
        request = jumpstarter_pb2.StreamingDriverCallRequest(uuid=uuid, method=method, args=[value(arg) for arg in args])
        responses = self.service.StreamingDriverCall(request, metadata=self.metadata, timeout=self.DEADLINE)
        return [json_format.MessageToDict(response.result) for response in responses]

    def stream(self, request, frames):
        """A byte stream. `request` is the metadata of that name, as an object or as text; `frames` are sent in order."""
        text = request if isinstance(request, str) else json.dumps(request)
        metadata = [*self.metadata, ("request", text)]
        return self.router.Stream(iter(frames), metadata=metadata, timeout=self.DEADLINE)


def value(content):
    """A JSON value as the wire has it."""
    return json_format.ParseDict(content, struct_pb2.Value())


def frame(kind, payload=b""):
    """A frame of a byte stream."""
    return router_pb2.StreamRequest(frame_type=kind, payload=payload)


def received(stream):
    """The bytes of a stream up to its end."""
    content = b""
    for message in stream:
        if message.frame_type == GOAWAY:
            break
        content += message.payload
    return content


def code(call):
    """The name of the status code with which a call fails, and its details."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name, error.details() or ""
    raise AssertionError("the call should have failed")


@contextmanager
def raises(kinds, *texts):
    """Insists on an exception of exactly this kind, or one of these, whose text has all the parts.

    Exactly, since DriverMethodNotImplemented is a DriverError, too, and means something else.
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    try:
        yield
    except kinds as error:
        assert type(error) in kinds, f"{kinds} should have been raised instead of {error!r}"
        for text in texts:
            assert text in str(error), f"{text!r} is not in: {error}"
        return
    raise AssertionError(f"{kinds} should have been raised")
