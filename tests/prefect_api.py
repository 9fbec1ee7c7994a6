"""Asking a Prefect server, and waiting for states of it."""

import base64
import json
import time
import urllib.error
import urllib.request

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(api, path, method="POST", listed=None, **body):
    """What the server answers; asked again, as Prefect's own clients do, where it is away or its database is busy.
    `api` may name who asks: http://user:password@127.0.0.1:4200/api."""
    address, login = _address(api)
    headers = {"Content-Type": "application/json"}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    data = json.dumps(body if listed is None else listed).encode()
    request = urllib.request.Request(f"{address}{path}", data, headers, method=method)
    while True:
        try:
            return json.loads(_OPENER.open(request, timeout=60).read() or "null")
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
        except OSError:
            pass
        time.sleep(1)


def _address(api):
    """Where it is, and the login."""
    scheme, _, place = api.rpartition("//")
    login, _, place = place.rpartition("@")
    return f"{scheme}//{place}", login


def answers(api):
    try:
        _OPENER.open(f"{_address(api)[0]}/health", timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition, seconds=500):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)
