"""Starting the dashboard, which is a program of its own: it and the command line know nothing of each other."""

import os
import sys
import tomllib
from contextlib import suppress
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from cleaner.errors import ConfigError, RunError
from cleaner.installed import with_extra

PASSWORD = "CLEANER_UI_PASSWORD"
"""The environment variable that holds the password for the dashboard."""
_SETTINGS = {
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "logger.level": "warning",
    "runner.magicEnabled": "false",
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
    "theme.dark.primaryColor": "#7aa7ff",
    "theme.light.primaryColor": "#2f6fde",
}


def command(folder: Path, *, host: str, port: int | None, browser: bool) -> list[str]:
    """The command that serves the dashboard of the run, or the folder of runs, `folder`.

    Raises:
        RunError: there is no such folder.
        ConfigError: the extra is not installed, or everybody would be let in.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such directory; give a run's directory, or a folder of runs")
    script = find_spec("ui.app")
    if find_spec("streamlit") is None or find_spec("duckdb") is None or script is None or script.origin is None:
        raise ConfigError(f"the dashboard is not installed; install it with: {with_extra('ui')}")
    if not _is_loopback(host) and not os.environ.get(PASSWORD) and not _has_provider():
        raise ConfigError(
            f"--host {host}: others could see and decide all; set {PASSWORD}, or set up Streamlit's OpenID Connect"
        )
    settings = _SETTINGS | {"server.address": host} | ({"server.port": str(port)} if port else {})
    settings |= {} if browser else {"server.headless": "true"}
    given = [f"--{name}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "streamlit", "run", script.origin, *given, "--", str(folder.absolute())]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _has_provider() -> bool:
    """Whether Streamlit's secrets name a provider of identities."""
    for place in (Path.home(), Path.cwd()):
        file = place / ".streamlit" / "secrets.toml"
        with suppress(OSError, ValueError):
            if "auth" in tomllib.loads(file.read_text(encoding="utf-8")):
                return True
    return False


def become(words: list[str]) -> None:
    """Go on as another program, which Ctrl-C and SIGTERM then end."""
    sys.stdout.flush()
    os.execv(words[0], words)
