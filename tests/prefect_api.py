"""Asking a Prefect server, and waiting for states of it."""

import json
import time
import urllib.error
import urllib.request

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(api, path, method="POST", **body):
    """What the server answers; asked again, as Prefect's own clients do, where it is away or its database is busy."""
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{api}{path}", data, headers, method=method)
    while True:
        try:
            return json.loads(_OPENER.open(request, timeout=60).read() or "null")
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
        except OSError:
            pass
        time.sleep(1)


def answers(api):
    try:
        _OPENER.open(f"{api}/health", timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition, seconds=500):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
