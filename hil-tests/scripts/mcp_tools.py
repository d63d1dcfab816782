"""Uses a bench as an assistant does: through the tools of `jmp mcp serve`, on its standard streams."""

import itertools
import json
import subprocess
import sys

server = subprocess.Popen(["jmp", "mcp", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
numbers = itertools.count(1)


def send(message):
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    server.stdin.flush()


def ask(method, params):
    number = next(numbers)
    send({"id": number, "method": method, "params": params})
    while True:
        line = server.stdout.readline()
        if not line:
            sys.exit("the server has gone")
        answer = json.loads(line)
        if answer.get("id") == number:
            return answer["result"]


def call(tool, **arguments):
    return json.loads(ask("tools/call", {"name": tool, "arguments": arguments})["content"][0]["text"])


ask("initialize", {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "hil", "version": "1"}})
send({"method": "notifications/initialized"})
assert [exporter["name"] for exporter in call("jmp_list_exporters")] == ["bench"]
lease = call("jmp_create_lease", selector="board=demo", duration_seconds=600)["name"]
connection = call("jmp_connect", lease_id=lease)["connection_id"]
assert call("jmp_run", connection_id=connection, command=["power", "on"])["exit_code"] == 0
call("jmp_disconnect", connection_id=connection)
assert call("jmp_delete_lease", lease_id=lease)["status"] == "deleted"
server.stdin.close()
server.wait()
print("done")
