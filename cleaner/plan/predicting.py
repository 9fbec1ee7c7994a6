"""Has models predict the samples that they did not learn from."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.sources import Source
from cleaner.evidence.crossfit import Predictor, Task, assign_folds, keys_of
from cleaner.evidence.features import ShardedFeatures
from cleaner.methods import judging
from cleaner.methods.references import pictures
from cleaner.plan.items import Plan, one
from cleaner.plan.so_far import SoFar, require_some_left
from cleaner.run.ledger import PERSON
from cleaner.run.steps import Step, makes
from cleaner.stages import judging_labels
from cleaner.tables import DUPLICATES, Action, Classes, array

if TYPE_CHECKING:
    from cleaner.plan.runs import Run

FINER = 4


def predicted(run: "Run", so_far: SoFar, stage: str, number: int, *, policy: str) -> Plan[str]:
    """The evidence for round `number` of a stage, by models of what stands.

    Raises:
        NothingLeft: no image is left from which they could learn.
    """
    require_some_left(run.store.read(so_far.standing))
    predictor = run.predictors[stage]
    together = tuple(range(run.config.folds))
    fold_sets = [together] if predictor.folds_together else [(fold,) for fold in together]
    settings = {"predictor": predictor, "round": number, "seed": run.config.seed, "folds": run.config.folds}
    settings["policy"] = policy
    resources = {"source": run.source, "workers": run.workers}
    twins = so_far.tables.get("duplicates") or (yield from one(Step("no-duplicates", no_duplicates)))
    inputs = (so_far.manifest, so_far.standing, twins, *so_far.shards)
    name = f"{stage}-{number}-evidence"
    steps = [
        Step(
            name + "-fold" * (len(asked) == 1),
            out_of_sample,
            inputs,
            {**settings, "asked": asked},
            resources,
            {"files": predictor.files()},
        )
        for asked in fold_sets
    ]
    yield list(steps)
    if len(steps) == 1:
        return steps[0].output
    return (yield from one(Step(name, concatenate_by_row, tuple(step.output for step in steps))))


@makes("no duplicates", version=1)
def no_duplicates() -> pa.Table:
    """DUPLICATES of data in which nobody looks for any."""
    return DUPLICATES.empty_table()


@makes("evidence", version=4)
def out_of_sample(
    manifest: pa.Table,
    standing: pa.Table,
    twins: pa.Table,
    *shards: np.ndarray,
    predictor: Predictor,
    round: int,
    seed: int,
    folds: int,
    asked: tuple[int, ...],
    policy: str,
    source: Source,
    workers: int,
) -> pa.Table:
    """The EVIDENCE on the samples of the `asked` folds, by models of what stands that did not see them.

    Models learn from each sample as `judging.weights` has it, and from what people relabelled under its new label;
    they are asked about every sample that is usable and no junk, whatever the rounds before said of it.
    """
    classes = Classes.of(manifest)
    action, by_person = array(standing, "action"), pc.starts_with(standing.column("by"), PERSON).to_numpy()
    relabelled = (action == Action.RELABEL) & by_person
    labels = classes.encode(pc.if_else(pa.array(relabelled), standing.column("new_label"), standing.column("label")))
    # What people marked as junk is predicted too: it tells what junk looks like to models.
    gone = ~by_person & (action == Action.DROP) & ~np.isin(array(standing, "stage"), judging_labels())
    # By the label that it was given, so that an image stays in its fold when people give it another.
    given, groups, keys = (
        classes.encode(standing.column("label")),
        pictures(len(manifest), twins),
        keys_of(manifest, seed),
    )
    task = Task(
        labels=labels,
        train=(action == Action.KEEP) | relabelled,
        weights=judging.weights(standing, policy),
        predict=~gone,
        folds=assign_folds(given, groups, keys, folds=folds),
        finer_folds=assign_folds(given, groups, keys, folds=folds, finer=FINER),
        classes=len(classes.names),
        round=round,
        seed=seed,
        features=ShardedFeatures(shards),
        source=source,
        manifest=manifest,
    )
    return predictor.evidence(task, asked)


@makes("joined evidence", version=1)
def concatenate_by_row(*tables: pa.Table) -> pa.Table:
    """The tables as one, rows ascending."""
    return pa.concat_tables(tables).sort_by("row").combine_chunks()
