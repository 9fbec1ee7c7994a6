"""Commands that make models of what a run has left."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from flows.commands.options import Assignments, RunFolder

if TYPE_CHECKING:
    from cleaner.training.request import TrainRequest

RecipeName = Annotated[str, Option("--recipe", metavar="R", help="A recipe's name, or a TOML file of your own.")]
VersionName = Annotated[
    str, Option("--version", metavar="V", help="What to learn from: a version, as `cleaner versions` lists them.")
]
Seed = Annotated[int, Option("--seed", min=0, help="The seed of all randomness.")]
Preset = Annotated[
    str | None, Option("--preset", metavar="smoke", help="`smoke`: the recipe in seconds, through every part of it.")
]
Select = Annotated[
    str | None, Option("--select", metavar="best", help="`best`: keep the epoch that is best on the validation images.")
]
Test = Annotated[
    Path | None, Option("--test", metavar="DATA", help="A data set to measure on, its labels known to be right.")
]
Root = Annotated[Path | None, Option("--root", metavar="DIR", help="The folder in which the images of --test lie.")]


def train(
    folder: RunFolder,
    recipe: RecipeName = "finetune",
    version: VersionName = "clean",
    seed: Seed = 0,
    preset: Preset = None,
    assignments: Assignments = None,
    select: Select = None,
    test: Test = None,
    root: Root = None,
) -> None:
    """Train a model on what a run has left. The same command goes on after a kill, at the cost of an epoch at most.

    It is measured, when all is learnt, on --test; else on the test set that a data manifest names; else on the split
    test, or val if that is all there is; else on a tenth of the images, held out. After each epoch it is looked at on
    the split val beside these; else on a twentieth of the images, held out too.

    ```
    cleaner train runs/photos
    cleaner train runs/photos --recipe accv2020 --preset smoke
    cleaner train runs/photos --version raw --test checked.csv
    ```
    """
    from flows.trained import show_trained, train_here

    asked = _asked(folder, recipe, preset, assignments, select, test=test, root=root)
    show_trained(train_here(asked.specs(version, seed)))


def compare(
    folder: RunFolder,
    versions: Annotated[
        str, Option(metavar="V,V", help="The versions, as `cleaner versions` lists them.")
    ] = "raw,clean",
    recipe: RecipeName = "finetune",
    seed: Annotated[int, Option(min=0, help="The first seed.")] = 0,
    seeds: Annotated[int, Option(min=1, max=100, help="How many seeds, from --seed on.")] = 3,
    preset: Preset = None,
    assignments: Assignments = None,
    select: Select = None,
    test: Test = None,
    root: Root = None,
    truth: Annotated[
        Path | None, Option(metavar="FILE", help="The true labels: what a model could be without any noise.")
    ] = None,
) -> None:
    """Train on several versions of the data, and say what cleaning was worth: a difference, with an interval.

    ```
    cleaner compare runs/photos --test checked.csv
    cleaner compare runs/photos --versions raw,coarse,clean --seeds 5 --truth truth.csv
    ```
    """
    from flows.trained import compare_here

    asked = _asked(folder, recipe, preset, assignments, select, test=test, root=root, truth=truth)
    names = [name.strip() for name in versions.split(",")] + (["true"] if truth else [])
    compare_here(asked, list(dict.fromkeys(names)), range(seed, seed + seeds))


def find_lr(
    folder: RunFolder,
    recipe: RecipeName = "finetune",
    version: VersionName = "clean",
    seed: Seed = 0,
    preset: Preset = None,
    assignments: Assignments = None,
) -> None:
    """Try learning rates that grow, and suggest one; nothing is trained.

    ```
    cleaner find-lr runs/photos --recipe mine.toml
    ```
    """
    from flows.trained import find_rates

    find_rates(_asked(folder, recipe, preset, assignments, None), version, seed)


def show_augment(
    folder: RunFolder,
    recipe: RecipeName = "finetune",
    version: VersionName = "clean",
    seed: Seed = 0,
    preset: Preset = None,
    assignments: Assignments = None,
) -> None:
    """Write a picture of what each augmentation of a recipe does; nothing is trained.

    ```
    cleaner show-augment runs/photos --recipe accv2020
    ```
    """
    from flows.trained import show_augmented

    show_augmented(_asked(folder, recipe, preset, assignments, None), version, seed)


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


def _asked(
    folder: Path,
    recipe: str,
    preset: str | None,
    assignments: list[str] | None,
    select: str | None,
    *,
    test: Path | None = None,
    root: Path | None = None,
    truth: Path | None = None,
) -> "TrainRequest":
    from cleaner.training.recipe import read_recipe
    from flows.trained import asked_for

    selected = [f"optimisation.select={select}"] if select is not None else []
    read = read_recipe(recipe, [*(assignments or []), *selected], preset)
    return asked_for(folder, recipe, read, test=test, root=root, truth=truth)
