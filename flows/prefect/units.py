"""`cleaner deploy --systemd`: the units by which systemd keeps alive all that a team needs on one machine.

The folder that they are written into is also the state of what they start: Prefect's files, the cache, Label Studio's
data, and `cleaner.env`, which holds logins and passwords, each drawn at random, and is nobody's but its user's.
"""

import getpass
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cleaner.run.files import write_text
from flows.prefect.schedule import Schedule

ENVIRONMENT, DATABASE, TARGET = "cleaner.env", "database.sql", "cleaner.target"
_UNIT = """# Made by: cleaner deploy --systemd
[Unit]
Description={what}
After=network.target postgresql.service
PartOf=cleaner.target
StartLimitIntervalSec=0

[Service]
User={user}
WorkingDirectory={place}
EnvironmentFile={environment}
ExecStart={command}
Restart=always
RestartSec=5
UMask=0027
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={writes}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=cleaner.target
"""
_TARGET_UNIT = """# Made by: cleaner deploy --systemd
[Unit]
Description=cleaner: data sets that are kept clean

[Install]
WantedBy=multi-user.target
"""


def write_units(file: Path, schedule: Schedule, folder: Path, say: Callable[[str], None]) -> None:
    """Write what starts, for `schedule`, read from `file`, the Prefect server, a worker, what looks for images and
    answers, the dashboard, and Label Studio where it is installed.

    Logins and passwords that `folder` has are kept.

    Raises:
        StorageError: the disk refused a write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which("label-studio")
    _write_secrets(folder, schedule)
    place = file.absolute().parent
    writes = {folder.absolute(), place, *(data.run for data in schedule.data.values())}
    services = _services(file.absolute(), place, program)
    for name, (what, command) in services.items():
        text = _UNIT.format(
            what=what,
            user=getpass.getuser(),
            place=_plain(place),
            environment=_plain(folder.absolute() / ENVIRONMENT),
            command=" ".join(word if word.startswith("${") else _quoted(word).replace("$", "$$") for word in command),
            # One that is not there yet is no reason not to start.
            writes=" ".join(_quoted(f"-{path}") for path in sorted(writes)),
        )
        write_text(folder / f"cleaner-{name}.service", text)
    write_text(folder / TARGET, _TARGET_UNIT)
    names = " ".join(f"cleaner-{name}.service" for name in services)
    say(f"written to {folder}; whoever may gives these commands:")
    say(f"  sudo -u postgres psql < {shlex.quote(str(folder / DATABASE))}")
    say(f"  sudo cp {shlex.quote(str(folder))}/*.service {shlex.quote(str(folder))}/{TARGET} /etc/systemd/system/")
    say(f"  sudo systemctl daemon-reload && sudo systemctl enable --now {TARGET} {names}")
    if program is None:
        say(f"label-studio is not on PATH, so it gets no unit; {ENVIRONMENT} says where it answers")
    if getpass.getuser() == "root":
        say("they run as root, as whom this was given; give it as a user who may do no more than this needs")


def _services(file: Path, place: Path, label_studio: str | None) -> dict[str, tuple[str, list[str]]]:
    """What each service is, and its command; `${NAME}` is what the environment file says."""
    here = Path(sys.executable).parent
    found = {
        "prefect": (
            "Prefect's server, for cleaner",
            [sys.executable, "-m", "flows.prefect.embedded_server", "0", "${PREFECT_PORT}"],
        ),
        "watch": ("looks for new images and answers", [str(here / "cleaner"), "deploy", str(file), "--watch"]),
        "worker": ("cleans", [str(here / "prefect"), "worker", "start", "--pool", "cleaner", "--type", "process"]),
        "dashboard": (
            "the dashboard of all runs",
            [str(here / "cleaner"), "ui", str(place), "--port", "${DASHBOARD_PORT}", "--no-browser"],
        ),
    }
    if label_studio is not None:
        words = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", "${LABEL_STUDIO_PORT}"]
        found["label-studio"] = ("Label Studio, for cleaner", [label_studio, *words])
    return found


def _write_secrets(folder: Path, schedule: Schedule) -> None:
    """The environment of all services, and what makes the database. What is there already is kept."""
    if (folder / ENVIRONMENT).exists():
        return
    login, password, key = f"cleaner:{secrets.token_urlsafe(32)}", secrets.token_hex(24), secrets.token_hex(20)
    port, studio = schedule.port or 4200, 8080
    _write_privately(
        folder / DATABASE,
        f"CREATE ROLE prefect LOGIN PASSWORD '{password}';\nCREATE DATABASE prefect OWNER prefect;\n",
    )
    settings = {
        "PREFECT_PORT": port,
        "DASHBOARD_PORT": 8501,
        "LABEL_STUDIO_PORT": studio,
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_API_AUTH_STRING": login,
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://prefect:{password}@127.0.0.1:5432/prefect",
        "PREFECT_HOME": _value(folder.absolute() / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": 1,
        "XDG_CACHE_HOME": _value(folder.absolute() / "cache"),
        "LABEL_STUDIO_URL": f"http://127.0.0.1:{studio}",
        "LABEL_STUDIO_USERNAME": "cleaner@example.com",
        "LABEL_STUDIO_PASSWORD": secrets.token_urlsafe(16),
        "LABEL_STUDIO_API_KEY": key,
        "LABEL_STUDIO_USER_TOKEN": key,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_BASE_DATA_DIR": _value(folder.absolute() / "label-studio"),
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
    }
    told = {notice.to: "" for notice in schedule.notify}
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines += [f"# The address for {name}, as Apprise takes it.\n{name}=" for name in told]
    _write_privately(folder / ENVIRONMENT, "\n".join([*lines, ""]))


def _write_privately(file: Path, text: str) -> None:
    """A file that is its user's alone from the beginning."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as made:
        made.write(text)
    Path(made.name).replace(file)


def _quoted(word: str) -> str:
    """A word of a list as systemd reads it (systemd.syntax(7)); in a command `$` means something too."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _plain(path: Path) -> str:
    """A path that is all of a line: only `%` means anything there."""
    return str(path).replace("%", "%%")


def _value(path: Path) -> str:
    """A path as the value of a variable in an environment file."""
    return '"{}"'.format(str(path).replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$"))
