"""Commands that clean a data set, and take in what people say."""

import os
import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from cleaner import parts
from cleaner.errors import CleanerError
from flows.commands.options import AsJson, Assignments, RunFolder

if TYPE_CHECKING:
    from cleaner.runners.execute import CleanRequest


class Runner(StrEnum):
    PREFECT = "prefect"
    LOCAL = "local"


RunnerOption = Annotated[
    Runner,
    Option(help="`prefect`: as a flow, on the server that PREFECT_API_URL names or an embedded one; `local`: without."),
]


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
        from flows.prefect.limits import sentences

        nowhere = source.absolute().parent / f".{source.name}-{os.getpid()}-of-no-run"
        request = CleanRequest(source, run or nowhere, settings, reviewer, truth, workers)
        typer.echo("\n".join(sentences(estimate(request.open()))))
        return
    if run is None:
        raise typer.BadParameter("say where the run is to lie: --run DIR")
    request = CleanRequest(source, run, settings, reviewer, truth, workers)
    _clean(request, runner, verify=verify)
    show_summary(run, time.monotonic() - started)


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
    from flows.prefect.embedded import connect

    with run.store.locked():
        """Refused now rather than when a server has been started for it."""
    connect(partial(say, terminal))
    from flows.prefect.clean import run_on_prefect

    run_on_prefect(request, run, display_on(terminal))
