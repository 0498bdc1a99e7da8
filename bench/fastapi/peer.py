"""A peer of bench-http: FastAPI with slowapi, which sends the recorded responses."""

import json
import os

from fastapi import FastAPI, Request
from fastapi.responses import Response
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded

with open(os.environ["RESPONSES"]) as file:
    recorded = json.load(file)
limiter = Limiter(key_func=lambda request: request.headers.get("authorization", ""))
app = FastAPI()
app.state.limiter = limiter


for response in recorded.values():  # a field has a list of values; Response adds Content-Length
    response["Header"] = {name: values[0] for name, values in response["Header"].items() if name != "Content-Length"}


def send(path):
    response = recorded[path]
    return Response(response["Body"], response["Status"], response["Header"])


def add(path):
    # A limit of 0 refuses every request.
    @app.get(path)
    @limiter.limit("0/day" if recorded[path]["Status"] == 429 else "1000000000/hour")
    async def handle(request: Request):
        return send(path)


for path in recorded:
    add(path)


@app.exception_handler(RateLimitExceeded)
async def refuse(request: Request, _: RateLimitExceeded):
    return send(request.url.path)
