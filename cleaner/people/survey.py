"""What people's answers say of how many labels are wrong among all: the survey of `stages.prevalence`, of batches.

The images that were drawn at random stand for the others of their strata, whatever else people are asked, and as long
as the data set is there. What is asked about for its own sake stands for itself, that which was drawn before and would
be asked about now too: else those drawn would stand for what is left when the worst is gone. So does what people had
answered on before the first draw; what they look up by themselves later changes nothing here, since they look
where they have seen something. Images that came after the draw are a stratum of which nothing is known.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.methods.judging import told_of
from cleaner.methods.prevalence import Survey, prevalence
from cleaner.run.steps import makes
from cleaner.tables import Answer, array, is_usable


@makes("how many labels are wrong", version=3)
def surveyed(
    models: pa.Table,
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    answers: pa.Table,
    then: pa.Table,
    strata: pa.Table,
    *,
    drawn: tuple[str, ...],
) -> pa.Table:
    """One row: the share of wrong labels `noise`, and the shares `low` and `high` between which it lies in nine of ten
    surveys, by so many `answers` on images that were drawn at random; as the `models` put it where there are none. What
    is known of the models stands beside.

    An image that people call junk has no wrong label: it is counted as junk.

    Args:
        models: as `label_noise.noise` gives it.
        evidence: on which of the samples models have spoken.
        then: the manifest of which `strata`, STRATA, are.
        drawn: the content hashes of what was drawn at random from them.
    """
    found = survey(manifest, standing, evidence, answers, then, strata, drawn=drawn)
    share = prevalence(found)
    if share is None:
        return models_alone(models)
    for name, value in {"noise": share.estimate, "low": share.low, "high": share.high}.items():
        models = models.set_column(models.schema.get_field_index(name), name, pa.array([value]))
    return models.append_column("answers", pa.array([int(found.answers.sum())]))


@makes("how many labels are wrong, as models put it", version=1)
def models_alone(models: pa.Table) -> pa.Table:
    """The same where nobody was asked about images that were drawn at random: with no `answers`."""
    return models.append_column("answers", pa.array([0]))


def survey(
    manifest: pa.Table,
    standing: pa.Table,
    evidence: pa.Table,
    answers: pa.Table,
    then: pa.Table,
    strata: pa.Table,
    *,
    drawn: tuple[str, ...],
) -> Survey:
    """What people said of one file each with the same bytes; arguments as for `surveyed`."""
    contents, first = _firsts(manifest)
    told, spoken = told_of(manifest, answers)[first], _among(contents, answers.column("content_hash"))
    junk = answers.column("content_hash").filter(pc.equal(answers.column("answer"), Answer.JUNK.value))
    untold = spoken & (told < 0) & ~_among(contents, junk)
    surveyed_then = then.column("content_hash").take(strata.column("row")).combine_chunks()
    place = pc.index_in(contents, value_set=surveyed_then)
    within = place.is_valid().to_numpy(zero_copy_only=False)
    place = place.fill_null(0).to_numpy()
    of = array(strata, "stratum")[place] if len(strata) else np.full(len(first), -1)
    # What was asked about for its own sake, and nobody has answered on, may be either.
    certain = (within & (of < 0)) | (spoken & ~within)
    untold |= certain & ~spoken
    judged = np.isin(first, array(evidence, "row"))
    count = int(array(strata, "stratum").max(initial=-1)) + 1
    stratum = np.full(len(first), -1)
    doubt = np.clip(1 - pc.fill_null(standing.column("score"), 0.5).to_numpy()[first].astype(np.float64), 0, 1)
    if count:
        stratum[within] = of[within]
        doubt[within] = array(strata, "doubt")[place[within]]
    stratum[~within & judged] = count
    stratum[certain] = -1
    answered = spoken & (stratum >= 0) & _among(contents, drawn)
    sizes = np.bincount(stratum[stratum >= 0], minlength=count + 1)
    some = sizes > 0

    def in_strata(which: np.ndarray) -> np.ndarray:
        counts: np.ndarray = np.bincount(stratum[which], minlength=count + 1)[some]
        return counts

    return Survey(
        sizes=sizes[some],
        doubts=np.bincount(stratum[stratum >= 0], doubt[stratum >= 0], count + 1)[some] / sizes[some],
        answers=in_strata(answered),
        wrong=in_strata(answered & (told == 0)),
        untold=in_strata(answered & untold),
        certain=int(certain.sum()),
        certain_wrong=int((certain & (told == 0)).sum()),
        certain_untold=int((certain & untold).sum()),
    )


def _firsts(manifest: pa.Table) -> tuple[pa.Array, np.ndarray]:
    """The contents of the usable images, each once, and the row of the first file that has it."""
    usable = np.flatnonzero(is_usable(manifest))
    hashes = manifest.column("content_hash").take(pa.array(usable)).combine_chunks().dictionary_encode()
    _, first = np.unique(hashes.indices.to_numpy(zero_copy_only=False), return_index=True)
    return hashes.dictionary, usable[first]


def _among(contents: pa.Array, some: pa.ChunkedArray | tuple[str, ...]) -> np.ndarray:
    wanted = some.combine_chunks() if isinstance(some, pa.ChunkedArray) else pa.array(some, pa.string())
    found: np.ndarray = pc.is_in(contents, value_set=wanted).to_numpy(zero_copy_only=False)
    return found
