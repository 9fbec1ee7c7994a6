"""The command `cleaner`. What takes long to import is imported by the subcommand that needs it."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, cast

import typer
from typer import Option

from cleaner import installed
from cleaner.errors import CleanerError, InputError
from flows.commands.cleaning import clean, demo, review
from flows.commands.looking import export, issues, prune, status, versions, why
from flows.commands.serving import deploy, doctor, serve, ui
from flows.commands.training import compare, find_lr, predict, show_augment, train

app = typer.Typer(
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


INTERRUPTED = 130
"""The exit status that typer, as shells do, gives a command that Ctrl-C ended."""


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cleaner {installed.version()}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def cleaner(
    context: typer.Context,
    _version: Annotated[
        bool, Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find the junk images and the wrong labels in an image classification data set; ask people only where asking pays.

    ```
    cleaner demo
    cleaner clean photos --run runs/photos
    cleaner status runs/photos
    cleaner why runs/photos cats/0042.jpg
    cleaner ui runs/photos
    cleaner export runs/photos --format csv --out clean.csv
    cleaner train runs/photos
    ```
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


_COMMANDS: tuple[Callable[..., None], ...] = (
    *(demo, clean, review, status, why, versions, issues, prune, export, ui),
    *(train, compare, find_lr, show_augment, predict, serve, deploy, doctor),
)
for _command in _COMMANDS:
    app.command(_command.__name__.replace("_", "-"))(_command)


def main() -> None:
    """Run the command line; every end is an exit status, and at most one line on stderr."""
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        # Names of files may hold bytes that are no text, and a terminal may have letters for ASCII only.
        cast(TextIOWrapper, stream).reconfigure(errors="backslashreplace")
    try:
        _require_text(sys.argv[1:])
        status = app(prog_name="cleaner", standalone_mode=False)
    except typer.TyperException as error:
        _end(2, f"{error.format_message().replace('Value error, ', '')} (see cleaner --help)")
    except CleanerError as error:
        _end(error.exit_status, str(error))
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:  # noqa: BLE001 - the last resort of the whole command
        traceback.print_exc()
        _end(1, "this is a bug in cleaner; the same command goes on where it was")
    except KeyboardInterrupt:
        status = INTERRUPTED
    if status == INTERRUPTED:
        if _ended_by:
            _end(128 + _ended_by[0], "ended by SIGTERM; the same command goes on where it was")
        _end(status, "interrupted; the same command goes on where it was")
    sys.exit(status)


def _require_text(words: Sequence[str]) -> None:
    """Raise InputError where a word is no UTF-8: tables hold text, and so could not name it."""
    try:
        here = str(Path.cwd())
    except FileNotFoundError as error:
        raise InputError("the folder you are in is there no more; go to another one") from error
    for word in (*words, here):
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{word}: byte {error.start} of it is no UTF-8; rename that file or folder") from error


_ended_by: list[int] = []


def _terminated(number: int, _frame: object) -> None:
    """End as at Ctrl-C, and remember why."""
    _ended_by.append(number)
    raise KeyboardInterrupt


def _end(status: int, line: str) -> None:
    sys.stderr.write(f"cleaner: {' '.join(line.split())}\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
