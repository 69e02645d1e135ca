"""A stand-in for sandbox and model server: `fake_predictor.py launch.json`. Standard library only.

launch.json: {"socket": path, "behaviour": …, "release": path whose existence ends the draining of `slow`}.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime


def say(text: str) -> None:
    print(datetime.now(UTC).isoformat(timespec="milliseconds"), text, flush=True)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        launch = json.load(file)
    behaviour = launch["behaviour"]
    say(f"loading as {behaviour} in {os.getcwd()}")
    print("a line without a time stamp, 中文", flush=True)
    if behaviour == "crash":
        print("cannot load", file=sys.stderr, flush=True)
        sys.exit(3)
    if behaviour == "helper":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        say(f"helper {child.pid}")

    def drain(*_: object) -> None:
        if behaviour == "deaf":
            return
        say("draining")
        server.close()
        while behaviour == "slow" and not os.path.exists(launch["release"]):
            time.sleep(0.02)
        say("drained")
        sys.exit(0)

    signal.signal(signal.SIGTERM, drain)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(launch["socket"])
    server = socket.socket(socket.AF_UNIX)
    server.bind(launch["socket"])
    server.listen(8)
    status = b"503 Service Unavailable" if behaviour == "unready" else b"200 OK"
    while True:
        connection, _ = server.accept()  # (the handler of SIGTERM closes it and then ends the process)
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 %s\r\nContent-Length: 7\r\nConnection: close\r\n\r\nloading" % status
            )


main()
