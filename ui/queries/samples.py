"""One table of all samples as they stand, and what is asked of it."""

from dataclasses import dataclass, field, fields
from threading import Lock
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cleaner.run.answers import Answers, on_images
from cleaner.run.ledger import PERSON
from cleaner.tables import Classes

_MEMORY = "384MB"
"""What DuckDB may take; beyond it works on disk."""

ORDERS = {
    "the most doubtful first": "score ASC NULLS LAST, row",
    "the surest first": "score DESC NULLS LAST, row",
    "as in the data set": "row",
    "by path": "path, row",
    "by class": "label, row",
}
DOUBTFUL_FIRST = next(iter(ORDERS))


@dataclass(frozen=True)
class Filter:
    """Which samples: those that meet all that is set.

    Attributes:
        action: of `Action`, several: any of them.
        stage: that decided.
        label, guess: the given class; the class that models find likeliest, or that it was relabelled to.
        low, high: of the score.
        reviewed: whether people have said something of it.
        copies: whether it has duplicates; `group`, of which picture.
        path, reason: a text within.
        rows: these only.
    """

    action: tuple[str, ...] = ()
    stage: tuple[str, ...] = ()
    label: str | None = None
    guess: str | None = None
    low: float = 0.0
    high: float = 1.0
    reviewed: bool | None = None
    copies: bool | None = None
    group: int | None = None
    split: str | None = None
    path: str = ""
    reason: str = ""
    rows: tuple[int, ...] = field(default=())

    @property
    def is_everything(self) -> bool:
        return self == Filter()

    def where(self, standing: str) -> tuple[str, list[Any]]:
        """A condition of SQL on the table `kept.samples`, and its parameters; the file `standing` holds the reasons."""
        found: list[tuple[str, list[Any]]] = [
            (f"{name} IN ({','.join('?' * len(values))})", list(values))
            for name, values in (("action", self.action), ("stage", self.stage))
            if values
        ]
        if self.rows:
            found.append(("row IN (SELECT unnest(?::INTEGER[]))", [list(self.rows)]))
        for name in ("label", "guess", "split", "group"):
            if (value := getattr(self, name)) is not None:
                found.append((f'"{name}" = ?', [value]))
        if self.path:
            found.append(("contains(lower(path), lower(?))", [self.path]))
        if self.reason:
            # They are long, and so read only when somebody asks for them.
            reasons = "SELECT file_row_number FROM read_parquet(?, file_row_number = true)"
            found.append((f"row IN ({reasons} WHERE contains(lower(reason), lower(?)))", [standing, self.reason]))
        if (self.low, self.high) != (0.0, 1.0):
            found.append(("score BETWEEN ? AND ?", [self.low, self.high]))
        if self.reviewed is not None:
            found.append(("NOT " * (not self.reviewed) + "row IN (SELECT row FROM kept.reviewed)", []))
        if self.copies is not None:
            found.append((f'"group" IS {"NOT " * self.copies}NULL', []))
        return " AND ".join(condition for condition, _ in found) or "true", [v for _, values in found for v in values]


_BUILD = """
CREATE TABLE kept.samples AS
SELECT manifest.file_row_number::INTEGER AS row, manifest.path, manifest.label, manifest.content_hash,
    {split} AS split, action, new_label, stage, standing."by" LIKE '{person}%' AS by_person, score, round,
    {guess} AS guess, {rank} AS given_rank, {group} AS "group"
FROM read_parquet($manifest, file_row_number = true) AS manifest
POSITIONAL JOIN read_parquet($standing) AS standing
{joins}
ORDER BY row
"""
_EVIDENCE = "LEFT JOIN read_parquet($evidence) AS evidence ON evidence.row = manifest.file_row_number"
_DUPLICATES = "LEFT JOIN read_parquet($duplicates) AS duplicates ON duplicates.row = manifest.file_row_number"


class Samples:
    """The samples of one run as they stand. Each thread asks through its own cursor."""

    def __init__(self, tables: dict[str, str]) -> None:
        self.tables = tables
        self._reviewed_of, self._lock = (-1, -1), Lock()
        self.columns = pq.read_schema(tables["manifest"]).names
        labels = pq.read_table(tables["manifest"], columns=["label", "problem"])
        self.classes = Classes.of(labels).names
        self._connection = duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2})
        # The only compressed tables of a database in memory are those of an attached one.
        self._connection.execute("ATTACH ':memory:' AS kept (COMPRESS)")
        named = pa.table({"number": pa.array(range(len(self.classes)), pa.int32()), "name": list(self.classes)})
        self._connection.register("classes", named)
        self._connection.execute(self._build(), tables)
        self._connection.unregister("classes")
        self._connection.execute("CREATE TABLE kept.reviewed (row INTEGER)")

    def _build(self) -> str:
        has = {name: name in self.tables for name in ("evidence", "duplicates")}
        guess = "coalesce(new_label, classes.name)" if has["evidence"] else "new_label"
        joins = [_DUPLICATES] * has["duplicates"]
        joins += [_EVIDENCE, "LEFT JOIN classes ON classes.number = top_classes[1]"] * has["evidence"]
        return _BUILD.format(
            split="manifest.split" if "split" in self.columns else "NULL::VARCHAR",
            person=PERSON,
            guess=guess,
            rank="given_rank" if has["evidence"] else "NULL::INTEGER",
            group='duplicates."group"' if has["duplicates"] else "NULL::INTEGER",
            joins="\n".join(joins),
        )

    def ask(self, question: str, parameters: list[Any] | None = None) -> pa.Table:
        """What SQL says of the tables `kept.samples` and `kept.reviewed`."""
        return self._connection.cursor().sql(question, params=parameters or []).to_arrow_table()

    def remember_reviewed(self, answers: Answers) -> None:
        """People have said something of the images that `answers` are on, and of no others."""
        with self._lock:
            stamp = answers.stamp
            if stamp == self._reviewed_of:
                return
            cursor = self._connection.cursor()
            cursor.register("said", on_images(answers.read()).select(["content_hash"]))
            known = "SELECT row FROM kept.samples SEMI JOIN said USING (content_hash)"
            cursor.execute(f"CREATE OR REPLACE TABLE kept.reviewed AS {known}")
            cursor.close()
            self._reviewed_of = stamp

    def count(self, wanted: Filter) -> int:
        where, parameters = wanted.where(self.tables["standing"])
        return int(self.ask(f"SELECT count(*) AS n FROM kept.samples WHERE {where}", parameters)["n"][0].as_py())

    def page(self, wanted: Filter, order: str, *, start: int, count: int) -> pa.Table:
        """All columns of `count` samples from the place `start` on, in one of `ORDERS`."""
        return self._some("*", wanted, order, start, count)

    def listed(self, wanted: Filter, order: str, *, most: int) -> pa.Table:
        """What the CSV of a filter holds."""
        return self._some(
            "path, label AS given_label, new_label, guess, action, stage, score, split", wanted, order, 0, most
        )

    def _some(self, columns: str, wanted: Filter, order: str, start: int, count: int) -> pa.Table:
        where, parameters = wanted.where(self.tables["standing"])
        # Rows alone are sorted first: it takes half of the time that whole lines take.
        limits = f"ORDER BY {ORDERS[order]} LIMIT {int(count)} OFFSET {int(start)}"
        shown = f"SELECT row FROM kept.samples WHERE {where} {limits}"
        whole = f"SELECT {columns} FROM kept.samples SEMI JOIN ({shown}) AS shown USING (row) ORDER BY {ORDERS[order]}"
        return self.ask(whole, parameters)


def known_values(samples: Samples, column: str) -> list[str]:
    """The values of `stage` or `split`, sorted."""
    assert column in {part.name for part in fields(Filter)}
    found = samples.ask(
        f'SELECT DISTINCT "{column}" AS value FROM kept.samples WHERE "{column}" IS NOT NULL ORDER BY 1'
    )
    return [str(value) for value in found["value"].to_pylist()]
