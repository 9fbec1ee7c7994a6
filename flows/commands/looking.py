"""Commands that look at what a run has come to, take it along, or remove what it needs no more."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from cleaner import parts
from cleaner.words import Issue
from flows.commands.options import AsItStood, AsJson, Assignments, RunFolder


class IssuesForm(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def status(folder: RunFolder, as_json: AsJson = False) -> None:
    """Say where a run is, and what it waits for.

    ```
    cleaner status runs/photos
    ```
    """
    from flows.shown import show_status

    show_status(folder, as_json=as_json)


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
    from flows.explained import show_sample

    show_sample(folder, sample, version=version, as_json=as_json)


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
    from flows.handed_over import show_issues

    show_issues(folder, kind=kind, label=label, below=below, top=top, form=form, out=out)


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
    from flows.handed_over import show_export

    how = {"force": force, "provisional": provisional, "absolute": absolute}
    show_export(folder, form, out, assignments or [], **how, version=version)
