"""A WebSocket server on the given port that sends every message back in reverse."""

import sys

from websockets.sync.server import serve


def reverse(connection):
    print(f"asked for {connection.request.path}", flush=True)
    for message in connection:
        connection.send(message[::-1])


with serve(reverse, "127.0.0.1", int(sys.argv[1])) as server:
    print("ready", flush=True)
    server.serve_forever()
