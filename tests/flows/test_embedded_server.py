"""The server that ends with the command it serves."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from prefect_api import answers, get, wait_until

pytestmark = pytest.mark.slow

IMPATIENT = """
from flows import embedded_server
embedded_server._TRY_EVERY, embedded_server._PATIENCE = 0.5, 5
embedded_server.main()
"""


def test_a_server_that_can_write_no_more_starts_itself_anew_where_it_was(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, str(os.getpid()), "0"],
        env=environment | {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        api = f"http://127.0.0.1:{int(process.stdout.readline())}/api"
        wait_until(lambda: answers(api))
        # It has to have written once before it can be said not to write any more.
        wait_until(lambda: get(api, "/flows/filter"))
        database = sqlite3.connect(tmp_path / "prefect.db", isolation_level=None, timeout=120)
        database.execute("BEGIN IMMEDIATE")
        wait_until(lambda: b"embedded_server._PATIENCE" not in Path(f"/proc/{process.pid}/cmdline").read_bytes())
        database.execute("ROLLBACK")
        database.close()
        wait_until(lambda: answers(api))
        assert get(api, "/flows/", name="written")["name"] == "written"
        assert "Thread" in (tmp_path / "stuck.txt").read_text()
    finally:
        process.kill()
        process.wait()
