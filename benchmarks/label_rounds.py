"""The rounds of coarse and fine as a run performs them, on features and labels that are already there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from cleaner.config import Config
from cleaner.data.sources.folder import Folder
from cleaner.evidence.crossfit import Features, Task, assign_folds, keys_of
from cleaner.evidence.predictors.probe import Probe
from cleaner.loop.rounds import FINER
from cleaner.run.ledger import fold
from cleaner.stages import label_noise
from cleaner.tables import MANIFEST, SAID, Action, Classes, array


@dataclass(frozen=True)
class Round:
    """One round: its evidence and its verdicts on all samples, and how many came to be positive and ceased to be."""

    stage: str
    number: int
    evidence: pa.Table
    verdicts: pa.Table
    new: int
    lost: int

    @property
    def flagged(self) -> np.ndarray:
        return array(self.verdicts, "action") != Action.KEEP


def manifest_of(labels: np.ndarray) -> pa.Table:
    """A manifest of samples of which only the label is known; names sort as the numbers do."""
    names = [str(row) for row in range(len(labels))]
    known = {"sample_id": names, "path": names, "content_hash": names, "label": [f"{label:05d}" for label in labels]}
    return pa.table([known.get(part.name) or pa.nulls(len(labels), part.type) for part in MANIFEST], MANIFEST)


def rounds(features: Features, labels: np.ndarray, *, policy: str, seed: int) -> Iterator[Round]:
    """The rounds of both stages with the settings of a default run, but for `policy`."""
    config = Config(seed=seed)
    manifest, parts, evidence = manifest_of(labels), list[pa.Table](), None
    refused = False
    for stage in ("coarse", "fine"):
        split = getattr(config, stage)
        settings = split.model_dump(exclude={"max_rounds", "predictor"}) | {"policy": policy}
        carried = stage == "fine" and policy != label_noise.ACCV
        final = carried and refused
        for number in range(1, split.max_rounds + 1):
            standing = fold(manifest, parts)
            if not carried or number > 1:
                fresh = _evidence(features, manifest, standing, number, config, policy)
                refused = (
                    policy != label_noise.ACCV
                    and evidence is not None
                    and not _better(manifest, standing, evidence, fresh)
                )
                if refused:
                    break
                evidence = fresh
            said = {"stage": stage, "round": number, "by": split.predictor}
            parts.append(label_noise.verdicts(manifest, standing, evidence, SAID.empty_table(), **settings, **said))
            new, lost = label_noise.changes(standing, parts[-1])
            yield Round(stage, number, evidence, parts[-1], new, lost)
            if final or (policy == label_noise.ACCV and number > 1 and new == 0):
                break


def first_evidence(features: Features, manifest: pa.Table, *, seed: int) -> pa.Table:
    """The EVIDENCE of a run's first round."""
    return _evidence(features, manifest, fold(manifest, []), 1, Config(seed=seed), Config().coarse.policy)


def _better(manifest: pa.Table, standing: pa.Table, before: pa.Table, now: pa.Table) -> bool:
    return label_noise.gain(manifest, standing, before, now).column("gain")[0].as_py() > label_noise.LEAST_GAIN


def _evidence(
    features: Features, manifest: pa.Table, standing: pa.Table, number: int, config: Config, policy: str
) -> pa.Table:
    classes = Classes.of(manifest)
    labels = classes.encode(manifest.column("label"))
    alone, keys = np.full(len(labels), -1, np.int32), keys_of(manifest, config.seed)
    task = Task(
        labels=labels,
        train=array(standing, "action") == Action.KEEP,
        weights=label_noise.weights(standing, policy),
        predict=np.ones(len(labels), bool),
        folds=assign_folds(labels, alone, keys, folds=config.folds),
        finer_folds=assign_folds(labels, alone, keys, folds=config.folds, finer=FINER),
        classes=len(classes.names),
        round=number,
        seed=config.seed,
        features=features,
        source=Folder(Path()),
        manifest=manifest,
    )
    return Probe().evidence(task, tuple(range(config.folds)))
