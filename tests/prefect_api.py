"""Asking a Prefect server, and waiting for states of it."""

import json
import time
import urllib.request


def get(api, path, **body):
    request = urllib.request.Request(f"{api}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.loads(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).read())


def answers(api):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{api}/health", timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
