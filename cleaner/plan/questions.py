"""What people are asked, and what they have answered: which batch comes next, and the answers that hold."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.methods import image_noise, label_noise
from cleaner.people import meaning, selection, survey
from cleaner.people.disagreement import settled
from cleaner.people.grid import pages
from cleaner.plan.asking import unanswered
from cleaner.plan.items import Ask, Plan, one
from cleaner.plan.predicting import no_duplicates
from cleaner.plan.reviews import batches_of
from cleaner.plan.so_far import Data, SoFar, judge, stand
from cleaner.run.batches import REVIEW, stage_of
from cleaner.run.ledger import PEOPLE
from cleaner.run.state import Judged
from cleaner.run.steps import Step

if TYPE_CHECKING:
    from cleaner.plan.runs import Run


def hear_people(run: "Run", data: Data) -> Plan[SoFar]:
    """What people said: of the images that were marked beforehand, then of those that they were asked about."""
    so_far, seeds = SoFar(data), {"seeds": run.seeds}
    if run.seeds:
        marked = Judged("image_noise", 0)
        so_far = yield from judge(so_far, marked, image_noise.seed_verdicts, (data.manifest,), seeds)
    how, near = run.config.review.disagreement, {"near": run.config.duplicates.near}
    holding = partial(settled, how=how)
    answers = yield from words_that_hold(run, "people-said", meaning.said_of_images, holding, {"disagreement": how})
    so_far = yield from judge(so_far, Judged(PEOPLE, 0), meaning.verdicts, (data.manifest, answers), near)
    return replace(so_far, answers=answers, people=so_far.judged[-1].verdicts)


def words_that_hold(
    run: "Run",
    name: str,
    function: Callable[..., pa.Table],
    holding: Callable[[pa.Table], pa.Table],
    settings: Mapping[str, Any],
) -> Plan[str]:
    """The answers that hold so far, by a step that is named by what they say, not by when."""
    first = run.store.answers.lines()
    content = holding(run.store.answers.read(first)).drop_columns(["batch", "sample_id", "at", "asked"]).to_pylist()
    resources = {"answers": run.store.answers, "first": first}
    return (yield from one(Step(name, function, (), settings, resources, {"said": content})))


def asked_before(run: "Run", manifest: str) -> Iterator[Ask]:
    """The batches of before; those that the settings want are waited for, unless closed."""
    batches = run.store.batches
    for name in batches.names() if run.reviewer is not None else ():
        before = batches.names(stage_of(name), batches.data(name)).index(name)
        yield Ask(name, manifest, waits=before < run.config.review.batches and not batches.is_closed(name))


def done(run: "Run", item: Step | Ask) -> bool:
    """Whether an item needs no more work."""
    if isinstance(item, Step):
        return run.store.has(item.output)
    return not item.waits or unanswered(run, item) == 0


def may_ask(run: "Run", stage: str) -> bool:
    """Of data that have grown people are asked as often as of those of before."""
    asked = run.store.batches.names(stage, run.origin.fingerprint)
    return run.reviewer is not None and len(asked) < run.config.review.batches


def asked_next(run: "Run", stage: str, manifest: str, batch: str, *, strata: str = "", promise: str = "") -> Ask:
    """A batch to be put before people, by a name that none has: one of before may have been deleted."""
    numbers = [run.store.batches.number(name) for name in run.store.batches.names(stage)]
    return Ask(f"{stage}-{max(numbers, default=0) + 1}", manifest, batch, strata=strata, promise=promise)


def ask_what_is_open(run: "Run", so_far: SoFar) -> Plan[bool]:
    for ask in asked_before(run, so_far.manifest):
        if not done(run, ask):
            yield ask
            return True
    return False


def ask_of_images(run: "Run", so_far: SoFar) -> Plan[bool]:
    """A first small batch, half of it drawn at random; then what answers are expected to change most, by what the
    answers to the batches before have changed."""
    if not may_ask(run, REVIEW):
        return False
    wanted, models, junk = run.config.review, so_far.labels, so_far.tables.get("image_noise")
    known = so_far.manifest, so_far.rounds_stand, models.evidence
    if junk is None:
        junk = yield from one(Step("no-junk", image_noise.no_junk, (so_far.manifest,)))
    of_gains = *known, so_far.answers, models.fit, models.first, junk, so_far.people
    gains = yield from one(Step("gains", selection.gains, of_gains, {"policy": models.policy}))
    before, drawn = _drawn(run)
    count = wanted.max_samples if before else wanted.first
    shown = {"limit": max(1, count // 6)}
    candidates = yield from one(Step("candidates", image_noise.candidates, (so_far.manifest, junk), shown))
    asked = [batch for batch in batches_of(run) if batch.worth is not None]
    settings = {"count": count, "factors": selection.factors([batch.worth.by_why for batch in asked if batch.worth])}
    more = {"least": wanted.least_gain, "drawn": drawn}
    cut = Step("strata", selection.strata, (so_far.manifest, gains, candidates, *before), {**settings, **more})
    strata = yield from one(cut)
    more = {"known_share": wanted.known_share, "overlap": _overlap(run), "seed": run.config.seed}
    twins = so_far.tables.get("duplicates") or (yield from one(Step("no-duplicates", no_duplicates)))
    of_batch = *known, twins, so_far.answers, gains, candidates, strata, *before
    batch = yield from one(Step("review-batch", selection.batch, of_batch, {**settings, **more}))
    if wanted.grid:
        more = {"grid": wanted.grid, "overlap": _overlap(run), "seed": run.config.seed}
        batch = yield from one(Step("review-pages", pages, (batch, *so_far.shards), more))
    if run.store.rows(batch) == 0:
        return False
    factors = {"factors": settings["factors"]}
    promise = yield from one(Step("promise", selection.promise, (gains, batch), factors))
    yield asked_next(run, REVIEW, so_far.manifest, batch, strata=strata, promise=promise)
    return True


def surveyed(run: "Run", so_far: SoFar) -> Plan[SoFar]:
    """How many labels are wrong: by people's answers on images that were drawn at random, if there are any."""
    models = so_far.labels
    inputs = (so_far.manifest, models.before, models.evidence, so_far.answers, models.fit, models.first)
    thought = yield from one(Step("noise-models", label_noise.noise, inputs, {"policy": models.policy}))
    so_far = yield from stand(so_far, "rounds")
    so_far = replace(so_far, rounds_stand=so_far.standing)
    before, drawn = _drawn(run)
    if not before:
        noise = yield from one(Step("noise", survey.models_alone, (thought,)))
    else:
        drawn_from = (thought, so_far.manifest, so_far.rounds_stand, models.evidence, so_far.answers, *before)
        noise = yield from one(Step("noise", survey.surveyed, drawn_from, {"drawn": drawn}))
    return replace(so_far, noise=noise)


def _drawn(run: "Run") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the manifest and of the STRATA of the newest batch that has them, or nothing; and the content hashes
    of all images that were drawn at random."""
    store, batches = run.store, run.store.batches
    before: tuple[str, ...] = ()
    drawn = set[str]()
    for name in batches.names(REVIEW):
        both = batches.manifest(name), batches.strata(name)
        if all(store.has(each) for each in both):
            before = both
            asked = batches.read(name)
            rows = asked.filter(pc.and_(asked.column("drawn"), pc.is_null(asked.column("known")))).column("row")
            drawn |= set(store.read(both[0]).column("content_hash").take(rows).to_pylist())
    return before, tuple(sorted(drawn))


def _overlap(run: "Run") -> float:
    """The share of a batch that two people are asked about."""
    return run.config.review.overlap if run.reviewer is not None and run.reviewer.several else 0.0
