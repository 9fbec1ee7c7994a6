"""Commands that serve pages and keep data sets clean, and that look at the installation."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from cleaner.errors import InputError


def ui(
    folder: Annotated[Path, Argument(metavar="DIR", help="A run's directory, or a folder of runs.")],
    host: Annotated[str, Option(help="Where to listen; 0.0.0.0 lets others in, who need a password.")] = "127.0.0.1",
    port: Annotated[int | None, Option(min=1, max=65_535, help="The first free one from 8501 on unless given.")] = None,
    browser: Annotated[bool, Option(help="Open a browser.")] = True,
) -> None:
    """Serve the dashboard: what happened to the images and why, and a desk to decide at, until Ctrl-C.

    Where CLEANER_UI_PASSWORD is set, it asks for that. To let only known people in, set up Streamlit's OpenID Connect.

    ```
    cleaner ui runs/photos
    cleaner ui runs --port 8600 --no-browser
    ```
    """
    from cleaner.run.origin import runs_in
    from flows.dashboard import become, command

    words = command(folder, host=host, port=port, browser=browser)
    if not runs_in(folder):
        typer.echo(
            f"{folder}: no run lies here yet; one that `cleaner clean SOURCE --run` starts here is shown", err=True
        )
    become(words)


ScheduleFile = Annotated[Path, Argument(metavar="FILE", help="A TOML file of data sets, times and whom to tell.")]


def serve(file: ScheduleFile) -> None:
    """Keep data sets clean by themselves: take in new images, go on when people have answered, until Ctrl-C.

    Runs on the Prefect server that PREFECT_API_URL names, or on one of its own, whose page shows every run.

    ```
    cleaner serve cleaner.toml
    ```
    """
    from flows.console import console, say
    from flows.prefect.embedded import connect
    from flows.prefect.schedule import read_schedule

    told = partial(say, console(stderr=True))
    schedule = read_schedule(file)
    connect(told, schedules=True, port=schedule.port)
    from flows.prefect.serving import serve_schedule

    serve_schedule(file, schedule, told)


def deploy(
    file: ScheduleFile,
    pool: Annotated[str, Option(help="The work pool whose workers carry it out; made unless it is there.")] = "cleaner",
    write: Annotated[
        Path | None, Option("--yaml", metavar="OUT", help="Write a prefect.yaml instead; nothing is registered.")
    ] = None,
    watch: Annotated[
        bool, Option("--watch", help="Then look for new images and answers in the data sets that lie on this machine.")
    ] = False,
    systemd: Annotated[
        Path | None,
        Option(metavar="DIR", help="Write units by which systemd keeps all of it alive here, and its logins, instead."),
    ] = None,
) -> None:
    """Register the same on the Prefect server that PREFECT_API_URL names, for workers on any number of machines.

    Paths in FILE are those on the workers' machines; what does not lie on this one is not looked at. With `--watch`, on
    a machine where they lie, it then looks for new images and answers, until Ctrl-C.

    ```
    cleaner deploy cleaner.toml --watch
    prefect worker start --pool cleaner
    ```
    """
    if sum(map(bool, (watch, write, systemd))) > 1:
        raise InputError("--watch, --yaml and --systemd are three ways; give one of them")
    from flows.prefect.embedded import connect
    from flows.prefect.schedule import read_schedule

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if systemd is not None:
        from flows.prefect.units import write_units

        write_units(file, read_schedule(file, elsewhere=say), systemd, say)
        return
    schedule = read_schedule(file, elsewhere=say)
    if write is None:
        if not os.environ.get("PREFECT_API_URL"):
            raise InputError(
                "PREFECT_API_URL is not set; set it to the address of a Prefect server, or `cleaner serve`"
            )
        connect(say)
    from flows.prefect.deploying import deploy_schedule, watch_here, write_yaml

    if write is None:
        deploy_schedule(schedule, pool, say)
        if watch:
            watch_here(schedule, say)
    else:
        write_yaml(file, schedule, pool, write)


def doctor() -> None:
    """Say which versions, hardware and weights are there, and how to get what is missing."""
    from flows.doctor import examine, show

    findings = examine()
    show(findings)
    raise typer.Exit(0 if all(finding.fine for finding in findings) else 1)
