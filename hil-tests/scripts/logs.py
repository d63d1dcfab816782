"""Prints the exporter's log stream, until the exporter is gone."""

import grpc
from jumpstarter_protocol.jumpstarter.v1 import common_pb2
from raw import Exporter

print("attached", flush=True)
try:
    for record in Exporter().logs():
        source = common_pb2.LogSource.Name(record.source).removeprefix("LOG_SOURCE_")
        print(f"{source} {record.severity} {record.message}", flush=True)
except grpc.RpcError as error:
    print(f"gone: {error.code().name}", flush=True)
