"""What schemathesis must know to test the API by its description.

Every request comes from an address of its own, so that wrong keys don't shut
the run out (the server trusts the loopback's X-Forwarded-For). Most have a key
that may do everything and has no limits; every tenth has one on the plan free,
so that limit fields and refusals are seen too. A request that ends its own key
gets one that nobody else uses, and none gets the key of the run to end.
"""

import itertools
import os

import requests
import schemathesis

BASE = os.environ["API_URL"]
KEY = os.environ["API_KEY"]
LIMITED_KEY = os.environ["LIMITED_API_KEY"]
KEY_ID = KEY.split("_")[2]
TIMEOUT = 30  # seconds
turns, addresses = itertools.count(), itertools.count()


@schemathesis.auth(refresh_interval=None)  # remembered, all rotations would share one key
class Key:
    def get(self, case, context):
        if case.operation.label != "POST /v1/me/rotate":
            return LIMITED_KEY if next(turns) % 10 == 0 else KEY
        made = requests.post(
            BASE + "/v1/admin/keys",
            headers={"Authorization": "Bearer " + KEY},
            json={"name": "to rotate", "plan": "internal"},
            timeout=TIMEOUT,
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
    if case.path_parameters and case.path_parameters.get("id") == KEY_ID:
        case.path_parameters["id"] = "another"
