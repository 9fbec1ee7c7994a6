"""A table of true labels: for benchmarks, and for what a model could be that learnt from no wrong label."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.data.scan import sample_id
from cleaner.errors import InputError


def read_truth(file: Path) -> "pd.Series[str]":
    """The true labels as text, by `path` or `sample_id`, which is the index's name; empty where it is junk.

    Raises:
        InputError: there is no such file, it has other columns, or it says two things of one sample.
    """
    table = _read(file)
    key = next((column for column in ("path", "sample_id") if column in table), None)
    if key is None or "label" not in table:
        found = ", ".join(map(str, table.columns))
        raise InputError(f"{file}: wants the columns path (or sample_id) and label; it has {found}")
    labels = table.drop_duplicates([key, "label"]).set_index(key)["label"]
    twice = labels.index[labels.index.duplicated()]
    if len(twice):
        raise InputError(f"{file}: {key} {twice[0]} has two different labels; leave one")
    return labels


def names(samples: pa.Table, key: str) -> list[str]:
    """The samples' paths or ids, as `key` says."""
    paths: list[str] = samples.column("path").to_pylist()
    return paths if key == "path" else [sample_id(path) for path in paths]


def _read(file: Path) -> pd.DataFrame:
    """All columns as text, and what is missing as empty text."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "no such file"
        raise InputError(f"{file}: {what}; --truth wants a CSV or Parquet with path,label")
    try:
        if file.suffix.lower() == ".parquet":
            columns = [name for name in pq.read_schema(file).names if name in ("path", "sample_id", "label")]
            return pd.read_parquet(file, columns=columns).convert_dtypes().astype("string").fillna("")
        return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{file}: can't be read as a table ({error}); --truth wants a CSV or Parquet") from error
