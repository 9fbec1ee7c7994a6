"""The command `cleaner`. What takes long to import is imported by the subcommand that needs it."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer import Argument, Option

from cleaner import installed, parts
from cleaner.errors import CleanerError, InputError
from cleaner.words import Issue
from flows.commands.options import AsItStood, AsJson, Assignments, RunFolder
from flows.commands.training import compare, find_lr, show_augment, train

if TYPE_CHECKING:
    from cleaner.runners.execute import CleanRequest

app = typer.Typer(
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


class Runner(StrEnum):
    PREFECT = "prefect"
    LOCAL = "local"


class IssuesForm(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


INTERRUPTED = 130
"""The exit status that typer, as shells do, gives a command that Ctrl-C ended."""

RunnerOption = Annotated[
    Runner,
    Option(help="`prefect`: as a flow, on the server that PREFECT_API_URL names or an embedded one; `local`: without."),
]


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


@app.command()
def demo(
    folder: Annotated[Path, Option("--dir", metavar="DIR", help="Where the images and the run are put.")] = Path(
        "cleaner-demo"
    ),
    runner: RunnerOption = Runner.LOCAL,
) -> None:
    """Run the main job on handwritten digits with planted noise, and say how much of it was found."""
    from flows.demo import demo_request, show_findings

    _clean(demo_request(folder), runner)
    show_findings(folder)


@app.command()
def clean(
    source: Annotated[
        Path,
        Argument(
            metavar="SOURCE",
            help="A folder of class folders, a table (CSV, TSV, JSON lines, Parquet), or a data manifest.",
        ),
    ],
    run: Annotated[
        Path | None,
        Option(metavar="DIR", help="The run's directory; a run that is there goes on. --estimate needs none."),
    ] = None,
    root: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="The folder under which a table's images must lie, the table's own unless given; or in which the data"
            " of a data manifest lies.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        Option(
            metavar="path=NAME,label=NAME",
            help="What a table calls its columns; their numbers, where its first line holds no names.",
        ),
    ] = None,
    skip_missing: Annotated[
        bool,
        Option(
            "--skip-missing",
            help="Leave out, and tell, a table's rows of missing files, without a label, and repeated ones.",
        ),
    ] = False,
    config: Annotated[Path | None, Option(metavar="FILE", help="A TOML file of settings.")] = None,
    assignments: Assignments = None,
    seed: Annotated[int | None, Option(help="The seed of all randomness.")] = None,
    reviewer: Annotated[
        str, Option(metavar="|".join(["none", *parts.names("reviewers")]), help="Who is asked about doubtful images.")
    ] = "none",
    truth: Annotated[Path | None, Option(metavar="FILE", help="The true labels, for `--reviewer oracle`.")] = None,
    runner: RunnerOption = Runner.PREFECT,
    workers: Annotated[
        int | None, Option(min=1, max=1024, help="Threads that decode images; one a core unless given.")
    ] = None,
    verify: Annotated[
        bool,
        Option(
            "--verify",
            help="Read again what was read, and see that nothing has changed: where the file system keeps no times.",
        ),
    ] = False,
    only_estimate: Annotated[
        bool,
        Option(
            "--estimate", help="Say what it will take on this machine, by a few hundred images; nothing is written."
        ),
    ] = False,
) -> None:
    """Clean a data set. The same command goes on after a crash, a kill or finished reviews.

    A table (CSV, TSV, JSON lines, each also as .gz, or Parquet) has the columns path,label, the paths relative to its
    folder; or a Parquet file has the images' bytes and labels. A data manifest is a TOML file that describes a data set
    as its publisher ships it.

    Wrong labels are looked for twice. *Coarse* takes out only labels that are far off, not even among the few classes
    that models find most probable; *fine* then weighs each label anew, also those taken out, by models that learnt from
    the cleaner rest.

    ```
    cleaner clean photos --run runs/photos
    cleaner clean photos.csv --run runs/photos --reviewer sheet
    cleaner clean photos.tsv --run runs/photos --columns path=filename,label=class --skip-missing
    cleaner clean photos.parquet --run runs/photos --set fine.k=2 --seed 7
    cleaner clean data_manifests/grocery.toml --root GroceryStoreDataset/dataset --run runs/grocery
    cleaner clean photos --run runs/photos --runner local
    cleaner clean photos --estimate
    ```

    Exit status: 0 done, 1 failed, 2 bad input or usage, 3 waits for people.
    """
    from cleaner.config import read_config
    from cleaner.runners.execute import CleanRequest
    from flows.shown import show_summary

    started = time.monotonic()
    settings = read_config(config, assignments or [], seed=seed, root=root, columns=columns, skip_missing=skip_missing)
    if only_estimate:
        from cleaner.plan.estimate import estimate
        from flows.limits import said

        nowhere = source.absolute().parent / f".{source.name}-{os.getpid()}-of-no-run"
        request = CleanRequest(source, run or nowhere, settings, reviewer, truth, workers)
        typer.echo("\n".join(said(estimate(request.open()))))
        return
    if run is None:
        raise typer.BadParameter("say where the run is to lie: --run DIR")
    request = CleanRequest(source, run, settings, reviewer, truth, workers)
    _clean(request, runner, verify=verify)
    show_summary(run, time.monotonic() - started)


@app.command()
def review(
    folder: RunFolder,
    watch: Annotated[
        bool, Option("--watch", help="Go on with the run when all is answered, and wait till then.")
    ] = False,
    close: Annotated[
        bool, Option("--close", help="Go on with the answers that are there, and wait for no more of these batches.")
    ] = False,
    withdraw: Annotated[
        list[str] | None,
        Option(
            metavar="by=NAME|batch=NAME|image=SAMPLE|class=NAME|withdrawal=N",
            help="Take back what was said: all answers for which each of these holds, or a withdrawal of before.",
        ),
    ] = None,
    every: Annotated[float, Option(min=1, max=86_400, help="With --watch, seconds between two looks.")] = 30,
    as_json: AsJson = False,
    runner: RunnerOption = Runner.PREFECT,
) -> None:
    """Fetch what people have answered, and say who answered how much, at what pace, and how far they agree.

    Answers that should not have been given can be withdrawn, and a withdrawal too: nothing is deleted.

    ```
    cleaner review runs/photos
    cleaner review runs/photos --watch
    cleaner review runs/photos --close
    cleaner review runs/photos --withdraw by=ann --withdraw batch=review-2
    cleaner review runs/photos --withdraw withdrawal=1
    ```

    Exit status: 0; with --watch or --close as `cleaner clean`.
    """
    from cleaner.errors import WaitsForPeople
    from cleaner.plan.reviews import batches_of
    from cleaner.plan.runs import reopen
    from flows import reviewed
    from flows.shown import show_summary

    if watch and close:
        raise typer.BadParameter("--watch waits for all answers and --close for none; give one of them")

    def heard(line: str) -> None:
        typer.echo(line, err=True)

    if withdraw and (watch or close):
        raise typer.BadParameter("--withdraw only takes back; give the command again for --watch or --close")
    if withdraw:
        which = reviewed.meant(folder, withdraw)
        try:
            # What was said until now is withdrawn too, and does not come in later.
            reviewed.fetch(folder, heard)
        except CleanerError as error:
            heard(f"not all answers can be fetched, and what comes in later will hold: {error}")
        heard(reviewed.withdraw(folder, which))
        run = reopen(folder)
        standing = batches_of(run)
    else:
        run, standing = reviewed.fetch(folder, heard)
    reviewed.show(run, standing, as_json=as_json)
    if close:
        closed = reviewed.close(run, standing)
        heard(f"closed: {', '.join(closed)}" if closed else "no batch lacks an answer")
    while watch or close:
        if watch:
            reviewed.wait_until_answered(folder, heard, every=every)
        try:
            _clean(reviewed.request_of(run), runner)
        except WaitsForPeople as wait:
            if close:
                raise
            heard(str(wait))
            continue
        show_summary(folder)
        return


@app.command()
def status(folder: RunFolder, as_json: AsJson = False) -> None:
    """Say where a run is, and what it waits for.

    ```
    cleaner status runs/photos
    ```
    """
    from flows.shown import show_status

    show_status(folder, as_json=as_json)


@app.command()
def why(
    folder: RunFolder,
    sample: Annotated[str, Argument(metavar="SAMPLE", help="A sample_id, or a path as in verdicts.parquet.")],
    version: AsItStood = None,
    as_json: AsJson = False,
) -> None:
    """Show every verdict on one sample, in order.

    ```
    cleaner why runs/photos cats/0042.jpg
    cleaner why runs/photos cats/0042.jpg --version judged-1
    ```
    """
    from flows.shown import show_sample

    show_sample(folder, sample, version=version, as_json=as_json)


@app.command()
def versions(
    folder: RunFolder,
    one: Annotated[str | None, Argument(metavar="V", help="A version, to say what differs from it.")] = None,
    other: Annotated[str | None, Argument(metavar="V", help="In which version, `clean` unless given.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what stood when: as the images were read, after each stage, each time people were asked, and in the end; or
    say what differs between two of these versions.

    Every one of them can be exported, learnt from and asked about: `--version` of `export`, `train` and `why`.

    ```
    cleaner versions runs/photos
    cleaner versions runs/photos judged-1 judged-2
    cleaner versions runs/photos raw
    ```
    """
    from flows.history import show_differences, show_versions

    if one is None:
        show_versions(folder, as_json=as_json)
    else:
        show_differences(folder, one, other or "clean", as_json=as_json)


@app.command()
def issues(
    folder: RunFolder,
    kind: Annotated[Issue | None, Option(help="Only issues of this kind.")] = None,
    label: Annotated[
        str | None, Option("--class", metavar="C", help="Only of images given this class, or taken for it.")
    ] = None,
    below: Annotated[float | None, Option(metavar="S", min=0, max=1, help="Only with a score below this.")] = None,
    top: Annotated[
        int | None, Option(metavar="N", min=1, help="The worst N of each kind; 10 unless given or written to a format.")
    ] = None,
    form: Annotated[IssuesForm, Option("--format", help="How to write them.")] = IssuesForm.TABLE,
    out: Annotated[Path | None, Option(metavar="P", help="The file to write, in place of the terminal.")] = None,
) -> None:
    """List what is wrong with the images, or may be, by kind.

    ```
    cleaner issues runs/photos
    cleaner issues runs/photos --kind "wrong label" --class cats --below 0.2
    cleaner issues runs/photos --format parquet --out issues.parquet
    ```
    """
    from flows.shown import show_issues

    show_issues(folder, kind=kind, label=label, below=below, top=top, form=form, out=out)


@app.command()
def prune(
    folder: RunFolder,
    dry_run: Annotated[bool, Option("--dry-run", help="Remove nothing, and say what would be.")] = False,
) -> None:
    """Remove what nothing needs any more: features and judgings that came of other settings or earlier images.

    Every version stays, and so does all that the same `cleaner clean` would look at. What is quickly made anew goes by
    itself when a run is finished.

    ```
    cleaner prune runs/photos --dry-run
    cleaner prune runs/photos
    ```
    """
    from cleaner.plan.pruning import prune as remove
    from cleaner.plan.runs import reopen
    from cleaner.words import counted, size

    run = reopen(folder)
    with run.store.locked():
        pruned = remove(run, dear=True, dry=dry_run)
    done = "would be removed" if dry_run else "removed"
    typer.echo(f"{counted(pruned.outputs, 'output')}, {size(pruned.bytes)}, {done}")


@app.command()
def export(
    folder: RunFolder,
    form: Annotated[str, Option("--format", metavar="|".join(parts.names("exporters")), help="What to write.")],
    out: Annotated[Path, Option(metavar="P", help="The file, or the new folder, to write.")],
    assignments: Assignments = None,
    force: Annotated[bool, Option("--force", help="Replace what an earlier export left at P.")] = False,
    provisional: Annotated[
        bool, Option("--provisional", help="Of a run that is not finished, write what stands so far.")
    ] = False,
    absolute: Annotated[
        bool, Option("--absolute", help="Absolute paths in a CSV or Parquet file, in place of those that lead from it.")
    ] = False,
    version: AsItStood = None,
) -> None:
    """Write the clean data set in one form.

    ```
    cleaner export runs/photos --format csv --out clean.csv
    cleaner export runs/photos --format image_folder --out clean
    cleaner export runs/photos --format image_folder --out clean --set copy=true
    cleaner export runs/photos --format csv --out before.csv --version judged-1
    ```
    """
    from flows.shown import show_export

    how = {"force": force, "provisional": provisional, "absolute": absolute}
    show_export(folder, form, out, assignments or [], **how, version=version)


@app.command()
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


app.command()(train)
app.command()(compare)
app.command("find-lr")(find_lr)
app.command("show-augment")(show_augment)


@app.command()
def predict(
    model: Annotated[Path, Argument(metavar="MODEL", help="The folder of a training.")],
    folder: Annotated[
        Path,
        Argument(metavar="FOLDER", help="A folder of images and the folders in it, or a data manifest that names one."),
    ],
    out: Annotated[Path, Option(metavar="OUT", help="Where to write, OUT.csv and OUT.parquet.")] = Path("predictions"),
    root: Annotated[Path | None, Option(metavar="DIR", help="The folder in which a data manifest's data lies.")] = None,
) -> None:
    """Say of images without labels what they show.

    OUT.csv has `path,label,prob`; OUT.parquet the ten most probable classes too.

    ```
    cleaner predict runs/photos/training/finetune-... new-photos --out new
    cleaner predict runs/fg/training/accv2020-... data_manifests/accv2020_webfg.toml --root /data/webfg --out submission
    ```
    """
    from flows.trained import predict_here

    predict_here(model, folder, out, root)


ScheduleFile = Annotated[Path, Argument(metavar="FILE", help="A TOML file of data sets, times and whom to tell.")]


@app.command()
def serve(file: ScheduleFile) -> None:
    """Keep data sets clean by themselves: take in new images, go on when people have answered, until Ctrl-C.

    Runs on the Prefect server that PREFECT_API_URL names, or on one of its own, whose page shows every run.

    ```
    cleaner serve cleaner.toml
    ```
    """
    from flows.console import console, say
    from flows.embedded import connect
    from flows.schedule import read_schedule

    told = partial(say, console(stderr=True))
    schedule = read_schedule(file)
    connect(told, schedules=True, port=schedule.port)
    from flows.serving import serve_schedule

    serve_schedule(file, schedule, told)


@app.command()
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
    from flows.embedded import connect
    from flows.schedule import read_schedule

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if systemd is not None:
        from flows.units import write_units

        write_units(file, read_schedule(file, elsewhere=say), systemd, say)
        return
    schedule = read_schedule(file, elsewhere=say)
    if write is None:
        if not os.environ.get("PREFECT_API_URL"):
            raise InputError(
                "PREFECT_API_URL is not set; set it to the address of a Prefect server, or `cleaner serve`"
            )
        connect(say)
    from flows.deploying import deploy_schedule, watch_here, write_yaml

    if write is None:
        deploy_schedule(schedule, pool, say)
        if watch:
            watch_here(schedule, say)
    else:
        write_yaml(file, schedule, pool, write)


@app.command()
def doctor() -> None:
    """Say which versions, hardware and weights are there, and how to get what is missing."""
    from flows.doctor import examine, show

    findings = examine()
    show(findings)
    raise typer.Exit(0 if all(finding.fine for finding in findings) else 1)


def _clean(request: "CleanRequest", runner: Runner, *, verify: bool = False) -> None:
    from flows.console import console, say
    from flows.progress_bar import display_on

    terminal = console(stderr=True)
    run = request.open()
    if verify:
        from cleaner.runners.execute import read_again

        run = read_again(run, display_on(terminal))
    if runner is Runner.LOCAL:
        from cleaner.runners.local import execute_here

        execute_here(run, display_on(terminal))
        return
    from flows.embedded import connect

    with run.store.locked():
        """Refused now rather than when a server has been started for it."""
    connect(partial(say, terminal))
    from flows.clean import run_on_prefect

    run_on_prefect(request, run, display_on(terminal))


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
