"""A stand-in for a model server: `python model.py SOCKET NAME`, answers every call with what it received, as
JSON.

`?sleep=0.5` answers later, `?status=500` with that status. SIGTERM lets calls in flight end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from urllib.parse import parse_qs


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    query = parse_qs(scope["query_string"].decode())
    if "sleep" in query:
        await asyncio.sleep(float(query["sleep"][0]))
    body = json.dumps(
        {
            "name": sys.argv[2],
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]
            ],
            "size": size,
        }
    ).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    status = int(query.get("status", ["200"])[0])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, uds=sys.argv[1], log_level="error", access_log=False, lifespan="off")
