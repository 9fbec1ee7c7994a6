"""What a data manifest says: where the parts of a data set lie as its publisher ships it, and what they mean."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from cleaner.errors import SourceError
from cleaner.settings import Section, complaints

PartName = Literal["train", "test", "unlabelled"]


class Listing(Section):
    """How a text or Parquet file of rows is read. Text is read with `separator`; a blank stands for any white space."""

    separator: str = Field(default=",", min_length=1, max_length=1, description="between the values of a line")
    columns: tuple[str, ...] = Field(
        default=(), description="the columns' names, where the first line does not hold them but a sample"
    )


class Part(Listing):
    """One part of a data set: a folder of class folders, a file of image bytes, or a list of image files."""

    at: str = Field(description="the folder or file")
    images: str = Field(default=".", description="the folder from which the paths of a list lead")
    path: str = Field(default="path", description="the column of paths")
    label: str = Field(default="label", description="the column of labels")
    group: str | None = Field(default=None, description="the column of coarser classes")
    split: str | None = Field(default=None, description="the column of splits")
    where: dict[str, str] = Field(default={}, description="only rows with these values, column = value")
    only: str | None = Field(default=None, description="a text file: only the paths in it, one a line")


class Unlabelled(Section):
    """Images without labels, which the final models are asked about."""

    at: str = Field(description="a folder of images")


class Names(Listing):
    """A file that gives the classes' names."""

    at: str = Field(description="the file; each line is one class")
    id: str | None = Field(default=None, description="the column of what stands as label; none: the line's number")
    name: str = Field(default="name", description="the column of names")


class Checks(Section):
    """What is there when all is there; what differs is said."""

    classes: int | None = Field(default=None, ge=2)
    train: int | None = Field(default=None, ge=1, description="images")
    test: int | None = Field(default=None, ge=1, description="images")


class Description(Section):
    """A data manifest. Paths are relative to `root`, and lead nowhere else."""

    name: str
    licence: str
    get: str = Field(description="how to get the data, told where it is not there")
    root: Path = Field(default=Path(), description="where the data lies, from the manifest's own folder")
    train: Part
    test: Part | None = None
    unlabelled: Unlabelled | None = None
    classes: tuple[str, ...] | Names | None = Field(
        default=None, description="the classes' names in the order of their numbers, or the file that has them"
    )
    checks: Checks = Checks()

    @model_validator(mode="after")
    def _paths_stay_inside(self) -> "Description":
        paths = [part.at for part in (self.train, self.test, self.unlabelled) if part]
        paths += [part.images for part in (self.train, self.test) if part]
        paths += [part.only for part in (self.train, self.test) if part and part.only]
        if isinstance(self.classes, Names):
            paths.append(self.classes.at)
        outside = [path for path in paths if Path(path).is_absolute() or ".." in Path(path).parts]
        if outside:
            raise ValueError(f"{', '.join(outside)}: lead out of root; set root to the folder that holds them all")
        return self


def read_description(file: Path) -> Description:
    """What a data manifest says.

    Raises:
        SourceError: it is none; the message names everything that is wrong with it.
    """
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"{file}: can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{file}: no valid TOML ({error}); a data manifest is one") from error
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        raise SourceError(f"{file}: {'; '.join(complaints(Description, error))}") from error
