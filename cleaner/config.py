"""One model of a run: the TOML file, the command line's `--set` and Prefect's form are views of it.

Every threshold, k, share and cap of the recipe (docs/design.md, "The method") is a field here with the recipe's value.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    field_validator,
    model_serializer,
)

from cleaner import parts
from cleaner.errors import ConfigError, nearest
from cleaner.settings import Section, assign, complaints
from cleaner.stages import RESERVED

if TYPE_CHECKING:
    from cleaner.plan.stage import Stage


class Folder(Section):
    """How a folder of class folders is read."""

    class_depth: int = Field(
        default=1,
        ge=1,
        le=20,
        description="folders on a file's way that make its class: with 2, `fruit/apple/7.jpg` is a `fruit/apple`",
    )


class Table(Section):
    """How a table of paths, or of images, is read."""

    root: Path | None = Field(
        default=None,
        description="the folder under which all images must lie, by whatever paths; none: the file's own. Of a data"
        " manifest: where its data lies",
    )

    path_column: str = Field(
        default="path",
        min_length=1,
        description="the column of paths; where the first line holds no names, its number from 1",
    )
    label_column: str = Field(default="label", min_length=1, description="the column of labels, likewise")
    skip_missing: bool = Field(
        default=False,
        description="rows of missing files, without a label, and repeated ones are left out and told, not refused",
    )


class Scan(Section):
    """How a source is read into the manifest."""

    max_pixels: int = Field(
        default=100_000_000, ge=1, le=2**31, description="a larger image is refused as a decompression bomb"
    )
    shard: int = Field(default=10_000, ge=1, le=10_000_000, description="samples read in one step")


class Features(Section):
    """Which frozen backbone embeds the images."""

    backbone: str = Field(
        default="auto",
        description="a timm model's name, `pixels`, or `auto`: packaged EfficientNet-Lite0, `pixels` below 16 px",
    )
    weights: Path | None = Field(
        default=None, description="a safetensors file for the backbone, instead of its published weights"
    )
    image_size: int | None = Field(
        default=None,
        ge=8,
        le=4096,
        description="side in pixels the images are resized to; none: chosen by the backbone",
    )
    shard: int = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        description="samples embedded in one step at most; fewer where they take more than a minute at the pace seen",
    )


class Review(Section):
    """What is put before people, and how much of it."""

    first: int = Field(
        default=100,
        ge=2,
        le=100_000,
        description="images in the first small batch, but no more than about a tenth of all: half of them at random,"
        " more of them where labels are doubtful, which tells how many labels are wrong; of the others a third each"
        " what may be junk, what is doubted and what is kept",
    )
    least_gain: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="a later batch asks about the images of which an answer is expected to overturn a verdict with this"
        " probability or a higher one, by what answers before have overturned; and a tenth more, drawn at random",
    )
    max_samples: int = Field(default=2_000, ge=1, le=1_000_000, description="of these in a later batch at most")
    known_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="of a batch, images on which people have decided before, among the others: how often somebody says"
        " the same there is their accuracy",
    )
    overlap: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="share of a batch that two people are asked about, where a team is asked (`label_studio`)",
    )
    disagreement: Literal["third", "accurate", "open"] = Field(
        default="third",
        description="where two people disagree: `third`: a third is asked, and the majority holds; `accurate`: whoever"
        " is right more often on known images; `open`: nobody's word holds, and the models decide",
    )
    grid: int = Field(
        default=0,
        ge=0,
        le=48,
        description="samples a page where batches come as pages of look-alikes of one class, on which people mark what"
        " does not belong: many times the pace, but nobody says which class it is instead; 0: one sample at a time",
    )
    batches: int = Field(
        default=3,
        ge=0,
        le=100,
        description="batches of images at most, and as many of small classes; with 0 nobody is asked anything",
    )


class _Config(Section):
    """Everything a run depends on besides its data; beside these fields each stage's settings, by its name."""

    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="of all randomness; the same data, settings and seed give the same verdicts",
    )
    folds: int = Field(
        default=5,
        ge=2,
        le=50,
        description="parts the samples are split into: of each part models judge that learnt the others",
    )
    stages: tuple[str, ...] = Field(
        default=("quality", "duplicates", "image_noise", "coarse", "fine", "small_classes"),
        description="what is looked for, in this order; `coarse` or `fine` must be among them",
    )
    folder: Folder = Folder()
    table: Table = Table()
    scan: Scan = Scan()
    features: Features = Features()
    review: Review = Review()
    predictors: dict[str, dict[str, Any]] = Field(default={}, description="settings of a predictor, by its name")
    reviewers: dict[str, dict[str, Any]] = Field(default={}, description="settings of a reviewer, by its name")

    @field_validator("stages")
    @classmethod
    def _are_stages(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = parts.names("stages")
        for place, name in enumerate(names):
            if name not in known:
                raise ValueError(f"no stage {name}{nearest(name, known)}")
            if name in names[:place]:
                raise ValueError(f"{name} is there twice")
        if not any(parts.find("stages", name).judges_labels for name in names):
            raise ValueError("no stage that judges labels; add coarse or fine")
        return names

    @model_serializer(mode="wrap")
    def _of_its_stages(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the sections of stages that are none of the run's: a stage that comes to be changes no other run."""
        written: dict[str, Any] = write(self)
        idle = {*parts.names("stages")} - {*self.stages}
        return {name: value for name, value in written.items() if name not in idle}

    @property
    def order(self) -> tuple["Stage", ...]:
        """The stages with their settings, in their order."""
        return tuple(getattr(self, name) for name in self.stages)

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """Each source's settings, by its name."""
        root, label = {"root": self.table.root}, self.table.label_column
        table = {"named": (self.table.path_column, label), "skip_missing": self.table.skip_missing}
        folder = self.folder.model_dump()
        return {"folder": folder, "table": root | table, "parquet_images": {"label": label}, "data_manifest": root}

    def changed(self) -> list[str]:
        """The settings that are not the recipe's, each as `--set` takes it."""
        return sorted(_assignments(self.model_dump(mode="json", exclude_defaults=True)))


if TYPE_CHECKING:

    class Config(_Config):
        """Everything a run depends on besides its data."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _sections = {name: parts.find("stages", name) for name in parts.names("stages")}
    if _taken := sorted(({*_Config.model_fields} | RESERVED) & {*_sections}):
        raise TypeError(f"cleaner/plan/stages/{_taken[0]}.py: no stage can be called so; rename the file and its class")
    Config = create_model(
        "Config",
        __base__=_Config,
        __module__=__name__,
        __doc__="Everything a run depends on besides its data.",
        **{name: (section, section()) for name, section in _sections.items()},
    )


def _assignments(settings: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _assignments(value, f"{before}{name}.")
        else:
            yield f"{before}{name}={value}"


def read_config(
    file: Path | None,
    assignments: list[str],
    *,
    seed: int | None = None,
    root: Path | None = None,
    columns: str | None = None,
    skip_missing: bool = False,
) -> Config:
    """The defaults, overlaid by the TOML `file`, then by assignments `a.b=value`, then by `seed` and of a table `root`,
    `columns` (`path=filename,label=class`) and `skip_missing`.

    Raises:
        ConfigError: with every wrong key and value in one message.
    """
    settings = _read_toml(file) if file else {}
    for assignment in assignments:
        assign(settings, assignment)
    if seed is not None:
        settings["seed"] = seed
    table: dict[str, Any] = _columns(columns) if columns is not None else {}
    table |= {"root": root} if root is not None else {}
    table |= {"skip_missing": True} if skip_missing else {}
    if table:
        settings["table"] = {**settings.get("table", {}), **table}
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        where = f"{file}: " if file else ""
        raise ConfigError(where + "; ".join(complaints(Config, error))) from error


def _columns(text: str) -> dict[str, Any]:
    """`path=filename,label=class` as settings."""
    named = dict(part.partition("=")[::2] for part in text.split(","))
    if not named.keys() <= {"path", "label"} or not all(named.values()):
        raise ConfigError(f"--columns {text}: wants path=NAME,label=NAME, or one of the two")
    return {f"{key}_column": name for key, name in named.items()}


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({error.strerror}); --config wants a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: no valid TOML ({error})") from error
