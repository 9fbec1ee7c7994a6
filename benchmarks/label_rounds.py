"""The rounds of coarse and fine as a run performs them, on features and labels that are already there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from cleaner.config import Config
from cleaner.data.sources.folder import Folder
from cleaner.evidence.predictors.probe import Probe
from cleaner.methods import judging, label_noise
from cleaner.people import meaning
from cleaner.plan.label_rounds import Compare, Judge, Predict, label_rounds
from cleaner.plan.predicting import out_of_sample
from cleaner.plan.so_far import End
from cleaner.run.ledger import fold
from cleaner.tables import ANSWER_LOG, DUPLICATES, MANIFEST, Action, array


@dataclass(frozen=True)
class Round:
    """One round: what stood before, its evidence and its verdicts on all samples, how many came to be positive and
    ceased to be, and how far its models and the first are believed."""

    stage: str
    number: int
    before: pa.Table
    evidence: pa.Table
    verdicts: pa.Table
    new: int
    lost: int
    fit: pa.Table
    first: pa.Table

    @property
    def flagged(self) -> np.ndarray:
        return array(self.verdicts, "action") != Action.KEEP


def manifest_of(labels: np.ndarray) -> pa.Table:
    """A manifest of samples of which only the label is known; names sort as the numbers do."""
    names = [str(row) for row in range(len(labels))]
    known = {"sample_id": names, "path": names, "content_hash": names, "label": [f"{label:05d}" for label in labels]}
    return pa.table([known.get(part.name) or pa.nulls(len(labels), part.type) for part in MANIFEST], MANIFEST)


def rounds(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    policy: str,
    seed: int,
    said: pa.Table = ANSWER_LOG.empty_table(),  # noqa: B008
) -> Iterator[Round]:
    """The rounds of both stages with the settings of a default run, but for `policy`, after what people have `said`."""
    config = Config(seed=seed)
    manifest, evidence, first = manifest_of(labels), None, None
    fits: dict[int, pa.Table] = {}
    parts = [meaning.verdicts(manifest, said)] if len(said) else []
    ended: End | None = None
    for stage in ("coarse", "fine"):
        split = getattr(config, stage).model_copy(update={"policy": policy})
        carried = stage == "fine" and policy != judging.ACCV
        asked = label_rounds(
            split, evidence if carried else None, ended if carried and ended and ended.converged else None
        )
        wanted, standing = next(asked), fold(manifest, parts)
        while True:
            answer: pa.Table | float | int
            match wanted:
                case Predict():
                    answer = _evidence(features, manifest, standing, wanted.number, config, policy)
                    fits[id(answer)] = label_noise.fit(manifest, standing, answer, said, policy=policy)
                    first = first or fits[id(answer)]
                case Compare():
                    both = evidence, fits[id(evidence)], wanted.evidence, fits[id(wanted.evidence)]
                    answer = label_noise.gain(manifest, standing, *both).column("gain")[0].as_py()
                case Judge():
                    evidence, fit = wanted.evidence, fits[id(wanted.evidence)]
                    settings = split.model_dump(exclude={"max_rounds", "predictor"})
                    settings |= {"stage": stage, "round": wanted.number, "by": split.predictor}
                    parts.append(label_noise.verdicts(manifest, standing, evidence, said, fit, first, **settings))
                    answer, lost = label_noise.changes(standing, parts[-1])
                    yield Round(stage, wanted.number, standing, evidence, parts[-1], answer, lost, fit, first)
                    standing = fold(manifest, parts)
            try:
                wanted = asked.send(answer)
            except StopIteration as end:
                ended = end.value
                break


def first_evidence(features: np.ndarray, manifest: pa.Table, *, seed: int) -> pa.Table:
    """The EVIDENCE of a run's first round."""
    return _evidence(features, manifest, fold(manifest, []), 1, Config(seed=seed), Config().coarse.policy)


def _evidence(
    features: np.ndarray, manifest: pa.Table, standing: pa.Table, number: int, config: Config, policy: str
) -> pa.Table:
    return out_of_sample(
        manifest,
        standing,
        DUPLICATES.empty_table(),
        features,
        predictor=Probe(),
        round=number,
        seed=config.seed,
        folds=config.folds,
        asked=tuple(range(config.folds)),
        policy=policy,
        source=Folder(Path()),
        workers=1,
    )
