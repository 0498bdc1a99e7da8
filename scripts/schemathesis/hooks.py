"""What schemathesis must know to test the API by its description.

Every request comes from an address of its own, so that wrong keys don't shut
the run out (the server trusts the loopback's X-Forwarded-For), and a request
that ends its own key gets one that nobody else uses.
"""

import itertools
import os

import requests
import schemathesis

BASE = os.environ["API_URL"]
ADMIN = {"Authorization": "Bearer " + os.environ["API_KEY"]}
TIMEOUT = 30  # seconds
addresses = itertools.count()


@schemathesis.auth(refresh_interval=None)  # remembered, all rotations would share one key
class Key:
    def get(self, case, context):
        if case.operation.label != "POST /v1/me/rotate":
            return os.environ["API_KEY"]
        made = requests.post(
            BASE + "/v1/admin/keys", headers=ADMIN, json={"name": "to rotate", "plan": "internal"}, timeout=TIMEOUT
        )
        made.raise_for_status()
        return made.json()["key"]

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = "Bearer " + data


@schemathesis.hook
def before_call(context, case, kwargs):
    n = next(addresses)
    case.headers = case.headers or {}
    case.headers["X-Forwarded-For"] = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
