"""Makes the HTTP calls that its input lists, with `requests`, and says what came."""

import json
import sys

import componentize_py_types
import requests
import wasi_http_adapter
import wit_world
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.handler import Failure

# The adapter looks for `Err` where earlier bindings had it.
sys.modules["wit_world.types"] = componentize_py_types
session = wasi_http_adapter.wasi_session(wit_world)


def call(method="GET", url="", headers=(), body=None, timeout_ms=None):
    timeout = timeout_ms and timeout_ms / 1000
    response = session.request(
        method, url, headers=dict(headers), data=body, timeout=timeout, allow_redirects=False
    )
    if not response.ok:
        raise Err(Failure(f"States.Http.StatusCode.{response.status_code}", response.text))
    return {"status": response.status_code, "body": response.text}


class Handler(exports.Handler):
    def run(self, ctx, input):
        try:
            return json.dumps([call(**one) for one in json.loads(input)["calls"]])
        except requests.RequestException as e:
            raise Err(Failure(f"Python.{type(e).__name__}", str(e)))
