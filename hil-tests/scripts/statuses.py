"""Prints each status of the exporter once, until the exporter is gone."""

import time

import grpc
from jumpstarter_protocol.jumpstarter.v1 import common_pb2
from raw import Exporter

PREFIX = "EXPORTER_STATUS_"


def name(status):
    return common_pb2.ExporterStatus.Name(status).removeprefix(PREFIX)


exporter = Exporter()
version = None
try:
    while True:
        now = exporter.status()
        if now.status_version != version:
            version = now.status_version
            previous = name(now.previous_status) if now.HasField("previous_status") else "nothing"
            print(f"{version} {name(now.status)} after {previous}: {now.message}", flush=True)
        time.sleep(0.005)
except grpc.RpcError as error:
    print(f"gone: {error.code().name}", flush=True)
