"""The loop as data: which steps, reading and writing which tables, until when.

A plan yields what is to be done next, a batch of independent steps or one question to people, and looks at what came of
it before it yields more. Who performs them, and where, is the runner's business. A plan that is walked again over the
same directory yields the same steps, so it goes on where it was.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleaner.config import Split
from cleaner.data.images import FORMATS
from cleaner.data.scan import scan
from cleaner.data.sources import Source
from cleaner.errors import SourceError
from cleaner.evidence.crossfit import Predictor, Task, assign_folds, keys_of
from cleaner.evidence.features import PIXELS, UNPACED, ShardedFeatures, choose, embed, engine, pace, shard_size, sound
from cleaner.methods import duplicates, image_noise, label_noise, small_classes
from cleaner.methods.references import pictures
from cleaner.people import review, selection, survey
from cleaner.people.disagreement import settled
from cleaner.people.grid import pages
from cleaner.plan.asking import REVIEW, Ask, unanswered
from cleaner.plan.label_rounds import Compare, End, Judge, Predict, label_rounds
from cleaner.plan.outline import Begins, Ends, outline_of
from cleaner.plan.reviews import batches_of
from cleaner.plan.runs import Run
from cleaner.run.answers import newest, on_classes
from cleaner.run.batches import stage_of
from cleaner.run.files import digest
from cleaner.run.ledger import PEOPLE, PERSON, fold
from cleaner.run.state import Judged, Names
from cleaner.run.steps import Step, makes, sayable
from cleaner.tables import STAMPS, Action, Classes, array, unusable_classes
from cleaner.words import STAGES, counted, shown

FINER = 4
STAGES_BEFORE_LABELS = ("scan", "duplicates", "image_noise")


@dataclass
class Line:
    """What a plan has come to: the names of the outputs that this state of the data set follows from.

    Attributes:
        copies: the verdicts on extra copies.
        said, people: the words of people that hold on images, and the verdicts they are.
        noise: how many labels are estimated to be wrong.
        parts: the parts of the ledger that count, the oldest first.
        judged: the rounds so far.
        standing: what stands so far, and in the end.
        fits: of each evidence how far its models are to be believed.
        firsts: of each predictor the same of the first evidence that it gave.
        ended: of each stage with rounds whether it converged, after how many, and why it stopped.
        junk: how likely images are junk.
        rounds_stand: what stands after the rounds.
        outline: of each part of the run the shares of it that are done before and after.
    """

    listing: str = ""
    stamps: str = ""
    read_by: str = ""
    features_by: str = ""
    manifest: str = ""
    shards: tuple[str, ...] = ()
    twins: str = ""
    copies: str = ""
    said: str = ""
    people: str = ""
    junk: str = ""
    rounds_stand: str = ""
    small: str = ""
    noise: str = ""
    standing: str = ""
    backbone: dict[str, Any] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    fits: dict[str, str] = field(default_factory=dict)
    firsts: dict[str, str] = field(default_factory=dict)
    ended: dict[str, End] = field(default_factory=dict)
    outline: dict[str, tuple[float, float]] = field(default_factory=dict)

    def begins(self, part: str, words: str) -> Begins:
        return Begins(words, *self.outline.get(part, self.outline[part.partition("-")[0]]))

    def names(self) -> Names:
        return Names(
            manifest=self.manifest,
            stamps=self.stamps,
            read_by=self.read_by,
            features_by=self.features_by,
            features=list(self.shards),
            duplicates=self.twins,
            standing=self.standing,
            ledger=list(self.parts),
            rounds=list(self.judged),
            noise=self.noise,
        )


@dataclass(frozen=True)
class Stands:
    """What stands so far, with all that results are written from; and what it is, in a person's words."""

    line: Line
    words: str


Item = list[Step] | Ask | Begins | Ends | Stands
Plan = Generator[Item, None, None]


def plan(run: Run, line: Line) -> Plan:
    """Yield what is to be done next; whoever performs it comes back for more. `line`, a new one, tells what it has come
    to so far, and in the end what stands.

    What people have said counts before anything else in every round. So when they answer, the samples are judged from
    the first round on, and what stands follows from the data, the settings and their newest words alone, in whatever
    order they said them and whichever batch asked.
    """
    line.outline = outline_of(run, by_network=run.config.features.backbone != PIXELS)
    yield from _scan(run, line)
    yield from _collect(run, line)
    yield from _embed(run, line)
    yield from _find_duplicates(run, line)
    while True:
        yield from _judge_all(run, line)
        yield line.begins("settling", "settling duplicates and small classes")
        yield from _settle(run, line)
        small = counted(run.store.rows(line.small), "class keeps", "classes keep")
        yield Ends(f"{small} fewer than {run.config.small_classes.min_images} images")
        yield Stands(_copied(line), "after all rounds")
        if not (yield from _ask(run, line)):
            break
    yield line.begins("results", "writing the results")


def _judge_all(run: Run, line: Line) -> Plan:
    """The rounds of all stages."""
    line.parts, line.judged, line.ended, line.fits, line.firsts = [], [], {}, {}, {}
    yield from _hear_people(run, line)
    yield line.begins("image_noise", "looking for junk images")
    before = yield from _stand(line, "first")
    first = yield from _out_of_sample(run, line, "coarse", 1, before)
    yield from _image_noise(run, line, first)
    coarse, fine = run.config.coarse, run.config.fine
    line.ended["coarse"] = yield from _rounds(run, line, "coarse", coarse, first, None)
    carried = _carried(run, line)
    settled = line.ended["coarse"] if carried is not None and line.ended["coarse"].converged else None
    line.ended["fine"] = yield from _rounds(run, line, "fine", fine, carried, settled)


def _settle(run: Run, line: Line) -> Plan:
    """What stands after the rounds so far."""
    last = _last(line)
    split = run.config.fine if last.stage == "fine" else run.config.coarse
    fits = line.fits[last.evidence], line.firsts[split.predictor]
    inputs = (line.manifest, last.before, last.evidence, line.said, *fits)
    models = yield from _one(Step("noise-models", label_noise.noise, inputs, {"policy": split.policy}))
    line.rounds_stand = yield from _stand(line, "rounds")
    yield from _survey(run, line, models, last.evidence)
    yield from _settle_duplicates(run, line)
    yield from _small_classes(run, line)
    yield from _stand(line, "final")


def _collect(run: Run, line: Line) -> Generator[Item, None, None]:
    """Ask for the answers to the batches of before; those that the settings want are waited for, unless closed."""
    yield from _asked_before(run, line)


def _asked_before(run: Run, line: Line) -> Iterator[Ask]:
    batches = run.store.batches
    for name in batches.names() if run.reviewer is not None else ():
        before = batches.names(stage_of(name), batches.data(name)).index(name)
        yield Ask(name, line.manifest, waits=before < run.config.review.batches and not batches.is_closed(name))


def _hear_people(run: Run, line: Line) -> Generator[Item, None, None]:
    """What people said: of the images that were marked beforehand, then of those that they were asked about."""
    marked = Judged("image_noise", 0)
    yield from _judge(line, marked, image_noise.seed_verdicts, (line.manifest,), {"seeds": run.seeds})
    how = run.config.review.disagreement
    holding = partial(settled, how=how)
    line.said = yield from _said(run, "people-said", review.said_of_images, holding, {"disagreement": how})
    near = {"near": run.config.duplicates.near}
    line.people = yield from _judge(line, Judged(PEOPLE, 0), review.verdicts, (line.manifest, line.said), near)
    line.parts.append(line.copies)
    line.judged.append(Judged("duplicates", 1, verdicts=line.copies))


def _said(
    run: Run,
    name: str,
    function: Callable[..., pa.Table],
    holding: Callable[[pa.Table], pa.Table],
    settings: dict[str, Any],
) -> Generator[Item, None, str]:
    """The words that hold so far, by a step that is named by what they say, not by when."""
    first = run.store.answers.lines()
    content = holding(run.store.answers.read(first)).drop_columns(["batch", "sample_id", "at", "asked"]).to_pylist()
    surroundings = {"answers": run.store.answers, "first": first}
    return (yield from _one(Step(name, function, (), settings, surroundings, {"said": content})))


def _newest_on_classes(words: pa.Table) -> pa.Table:
    return newest(on_classes(words))


def done(run: Run, item: Step | Ask) -> bool:
    """Whether an item needs no more work."""
    if isinstance(item, Step):
        return run.store.has(item.output)
    return not item.waits or unanswered(run, item) == 0


def _may_ask(run: Run, stage: str) -> bool:
    """Of data that have grown people are asked as often as of those of before."""
    asked = run.store.batches.names(stage, run.origin.fingerprint)
    return run.reviewer is not None and len(asked) < run.config.review.batches


def _overlap(run: Run) -> float:
    """The share of a batch that two people are asked about."""
    return run.config.review.overlap if run.reviewer is not None and run.reviewer.several else 0.0


def _one(step: Step) -> Generator[Item, None, str]:
    yield [step]
    return step.output


def _scan(run: Run, line: Line) -> Generator[Item, None, None]:
    yield line.begins("reading", "reading the images")
    identity = {"fingerprint": run.origin.fingerprint, "verified": run.origin.verified}
    line.listing = yield from _one(Step("listing", list_source, (), {}, {"source": run.source}, identity))
    line.stamps = yield from _one(Step("stamps", stamp, (), {}, {"source": run.source}, identity))
    settings = {"max_pixels": run.config.scan.max_pixels, "formats": FORMATS}
    line.read_by = digest(vars(scan)["version"], settings, run.origin.verified)
    before = run.before if run.before is not None and run.before.names.read_by == line.read_by else None
    surroundings = {"source": run.source, "workers": run.workers, "before": before}
    count, shards = run.store.rows(line.listing), []
    for start in range(0, count, run.config.scan.shard):
        span = {"start": start, "stop": min(start + run.config.scan.shard, count)}
        shards.append(Step(f"scan-{start}", scan, (line.listing,), {**span, **settings}, surroundings))
    yield list(shards)
    line.manifest = yield from _one(Step("manifest", gather, tuple(shard.output for shard in shards)))
    yield Ends(_what_was_read(run.store.read(line.manifest)) + _what_changed(run, line))


def _what_changed(run: Run, line: Line) -> str:
    """What is new, gone or other than before; empty where all is the same."""
    if run.before is None or run.before.names.stamps == line.stamps:
        return ""
    was, now = run.before.manifest, run.store.read(line.manifest)
    place = pc.index_in(now.column("path"), value_set=was.column("path").combine_chunks())
    both = place.is_valid()
    then = was.column("content_hash").take(place.filter(both))
    same = pc.equal(pc.fill_null(now.column("content_hash").filter(both), ""), pc.fill_null(then, ""))
    kept = pc.sum(both).as_py() or 0
    counts = {"new": len(now) - kept, "gone": len(was) - kept, "changed": kept - (pc.sum(same).as_py() or 0)}
    said = ", ".join(f"{count:,} {words}" for words, count in counts.items() if count)
    return f"; since it was read before: {said}" if said else ""


def _what_was_read(manifest: pa.Table) -> str:
    classes = counted(len(Classes.of(manifest).names), "class", "classes")
    said = f"{counted(len(manifest), 'image')} of {classes}"
    unusable = len(manifest) - manifest.column("problem").null_count
    lost = unusable_classes(manifest)
    gone = f"; no image can be used of {shown(lost)}" if lost else ""
    return f"{said}, {unusable:,} of them unreadable{gone}" if unusable else said


@makes("listing", version=1)
def list_source(*, source: Source) -> pa.Table:
    """The source's listing."""
    return source.listing()


@makes("stamps", version=2)
def stamp(*, source: Source) -> pa.Table:
    """The source's STAMPS; of one that has none an empty table."""
    found = source.stamps()
    return STAMPS.empty_table() if found is None else found


@makes("manifest", version=1)
def gather(*shards: pa.Table) -> pa.Table:
    """The manifest of all shards.

    Raises:
        SourceError: fewer than two classes have an image that can be used.
    """
    manifest = pa.concat_tables(shards).combine_chunks()
    if len(Classes.of(manifest).names) < 2:
        first = next((problem for problem in manifest.column("problem").to_pylist() if problem), "")
        unusable = f"{manifest.column('problem').drop_null().length()} of {len(manifest)}"
        raise SourceError(f"fewer than two classes have usable images: {unusable} can't be used, the first: {first}")
    return manifest


def _embed(run: Run, line: Line) -> Generator[Item, None, None]:
    wanted = run.config.features
    manifest = run.store.read(line.manifest)
    backbone = choose(wanted.backbone, weights=wanted.weights, image_size=wanted.image_size, manifest=manifest)
    line.backbone = sayable(backbone)
    line.outline = outline_of(run, by_network=backbone.name != PIXELS)
    what = "their pixels" if backbone.name == PIXELS else f"{backbone.name} at {backbone.image_size} pixels"
    yield line.begins("features", f"computing what the images look like, by {what}")
    settings = {"backbone": backbone, "max_pixels": run.config.scan.max_pixels}
    surroundings: dict[str, Any] = {"source": run.source, "workers": run.workers}
    identity = {"engine": engine() if backbone.name != PIXELS else ""}
    said = {name: sayable(value) for name, value in settings.items()}
    line.features_by = digest(vars(embed)["version"], said, identity)
    before = run.before if run.before is not None and run.before.names.features_by == line.features_by else None
    shard = wanted.shard
    if len(manifest) > UNPACED:
        paced = yield from _one(Step("features-pace", pace, (line.manifest,), settings, surroundings, identity))
        shard = shard_size(run.store.read(paced).column("images_per_second")[0].as_py(), wanted.shard)
    steps, surroundings = [], surroundings | {"before": before}
    for start in range(0, len(manifest), shard):
        span = {"start": start, "stop": min(start + shard, len(manifest))}
        steps.append(Step(f"features-{start}", embed, (line.manifest,), {**settings, **span}, surroundings, identity))
    yield list(steps)
    line.shards = tuple(step.output for step in steps)
    line.manifest = yield from _one(Step("manifest-sound", sound, (line.manifest, *line.shards)))
    yield Ends("")


def _find_duplicates(run: Run, line: Line) -> Generator[Item, None, None]:
    yield line.begins("duplicates", "looking for duplicates")
    settings = {"similarity": run.config.duplicates.similarity, "max_pixels": run.config.scan.max_pixels}
    surroundings = {"source": run.source, "workers": run.workers}
    inputs = (line.manifest, *line.shards)
    line.twins = yield from _one(Step("duplicates", duplicates.duplicates, inputs, settings, surroundings))
    near = {"near": run.config.duplicates.near}
    step = Step("duplicates-1-verdicts", duplicates.verdicts, (line.manifest, line.twins), near, judges=True)
    line.copies = yield from _one(step)
    yield Ends(_what_is_twice(run, line))


def _what_is_twice(run: Run, line: Line) -> str:
    manifest, twins = run.store.read(line.manifest), run.store.read(line.twins)
    found = duplicates.counts(manifest, twins)
    settled = {
        "keep": "which stay",
        "one_a_group": "of which one a picture will stay",
        "by_split": "which stay unless another split has them too",
    }
    said = [f"{counted(found.copies, 'extra copy', 'extra copies')}, left out"] if found.copies else []
    if found.elsewhere:
        copies = counted(found.elsewhere, "copy under another label", "copies under other labels")
        said.append(f"{copies}, to be settled when labels are known")
    if found.near:
        near = counted(found.near, "near-duplicate")
        said.append(f"{near} of {counted(found.groups, 'picture')}, {settled[run.config.duplicates.near]}")
    if leaking := pc.count_distinct(duplicates.leakage(manifest, twins).column("group")).as_py():
        said.append(f"leakage: {counted(leaking, 'picture')} in more than one split")
    return "; ".join(said) or "no picture is there twice"


def _judge(
    line: Line, judged: Judged, function: Callable[..., pa.Table], inputs: tuple[str, ...], settings: dict[str, Any]
) -> Generator[Item, None, str]:
    name = f"{judged.stage}-{judged.round}-verdicts"
    part = yield from _one(Step(name, function, inputs, settings, judges=True))
    line.parts.append(part)
    line.judged.append(replace(judged, verdicts=part))
    return part


def _image_noise(run: Run, line: Line, evidence: str) -> Plan:
    """Junk, by the first evidence there is and what people have marked."""
    wanted = run.config.image_noise
    marks = yield from _one(Step("image_noise-marks", image_noise.marks, (line.manifest, *line.parts)))
    standing = yield from _stand(line, "image_noise")
    inputs = (line.manifest, standing, evidence, marks, *line.shards)
    line.junk = judged = yield from _one(Step("image_noise", image_noise.judged, inputs, {"seed": run.config.seed}))
    inputs = (line.manifest, standing, evidence, judged)
    round_ = Judged("image_noise", 1, before=standing)
    part = yield from _judge(line, round_, image_noise.verdicts, inputs, {"threshold": wanted.threshold})
    found, marked = count_dropped(run.store.read(part)), pc.sum(run.store.read(marks).column("junk")).as_py() or 0
    why = f"{found:,} found" + f", with {counted(marked, 'image')} that people marked to learn from" * (marked > 0)
    line.ended["image_noise"] = End(True, 1, why)
    yield Ends(why)


def count_doubted(verdicts: pa.Table) -> int:
    return pc.sum(pc.not_equal(verdicts.column("action"), Action.KEEP.value)).as_py() or 0


def count_dropped(verdicts: pa.Table) -> int:
    return pc.sum(pc.equal(verdicts.column("action"), Action.DROP.value)).as_py() or 0


def _last(line: Line) -> Judged:
    """The last round that judged labels."""
    return next(judged for judged in reversed(line.judged) if judged.evidence)


def _copied(line: Line) -> Line:
    """As it is now, whatever becomes of it."""
    return replace(
        line,
        parts=list(line.parts),
        judged=list(line.judged),
        ended=dict(line.ended),
        fits=dict(line.fits),
        firsts=dict(line.firsts),
    )


def _so_far(run: Run, line: Line) -> Plan:
    so_far = _copied(line)
    yield from _settle(run, so_far)
    last = _last(line)
    yield Stands(so_far, f"after round {last.round} of looking for {STAGES[last.stage]}")


def _ask(run: Run, line: Line) -> Generator[Item, None, bool]:
    """Whether people were asked, and have answered: first what is open, then about images, then about small classes."""
    for ask in _asked_before(run, line):
        if not done(run, ask):
            yield ask
            return True
    return (yield from _ask_of_images(run, line)) or (yield from _ask_of_classes(run, line))


def _ask_of_images(run: Run, line: Line) -> Generator[Item, None, bool]:
    """A first small batch, half of it drawn at random; then what answers are expected to change most, by what the
    answers to the batches before have changed."""
    if not _may_ask(run, REVIEW):
        return False
    wanted, store, last = run.config.review, run.store, _last(line)
    fine = run.config.fine
    fits = line.fits[last.evidence], line.firsts[fine.predictor]
    known = line.manifest, line.rounds_stand, last.evidence
    of_gains = *known, line.said, *fits, line.junk, line.people
    gains = yield from _one(Step("gains", selection.gains, of_gains, {"policy": fine.policy}))
    before, drawn = _drawn(run)
    count = wanted.max_samples if before else wanted.first
    shown = {"limit": max(1, count // 6)}
    candidates = yield from _one(Step("candidates", image_noise.candidates, (line.manifest, line.junk), shown))
    asked = [batch for batch in batches_of(run) if batch.worth is not None]
    settings = {"count": count, "factors": selection.factors([batch.worth.by_why for batch in asked if batch.worth])}
    more = {"least": wanted.least_gain, "drawn": drawn}
    cut = Step("strata", selection.strata, (line.manifest, gains, candidates, *before), {**settings, **more})
    strata = yield from _one(cut)
    more = {"known_share": wanted.known_share, "overlap": _overlap(run), "seed": run.config.seed}
    of_batch = *known, line.twins, line.said, gains, candidates, strata, *before
    batch = Step("review-batch", selection.batch, of_batch, {**settings, **more})
    yield [batch]
    if wanted.grid:
        more = {"grid": wanted.grid, "overlap": _overlap(run), "seed": run.config.seed}
        batch = Step("review-pages", pages, (batch.output, *line.shards), more)
        yield [batch]
    if store.rows(batch.output) == 0:
        return False
    factors = {"factors": settings["factors"]}
    promise = yield from _one(Step("promise", selection.promise, (gains, batch.output), factors))
    yield Ask(_next(run, REVIEW), line.manifest, batch.output, strata=strata, promise=promise)
    return True


def _next(run: Run, stage: str) -> str:
    """A name that no batch has: one of before may have been deleted."""
    numbers = [int(name.rpartition("-")[2]) for name in run.store.batches.names(stage)]
    return f"{stage}-{max(numbers, default=0) + 1}"


def _drawn(run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
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


def _survey(run: Run, line: Line, models: str, evidence: str) -> Plan:
    """How many labels are wrong: by people's answers on images that were drawn at random, if there are any."""
    before, drawn = _drawn(run)
    if not before:
        line.noise = yield from _one(Step("noise", survey.models_alone, (models,)))
        return
    inputs = (models, line.manifest, line.rounds_stand, evidence, line.said, *before)
    line.noise = yield from _one(Step("noise", survey.surveyed, inputs, {"drawn": drawn}))


def _rounds(
    run: Run, line: Line, stage: str, split: Split, first: str | None, settled: End | None
) -> Generator[Item, None, End]:
    """The rounds of a stage, as `label_rounds` wants them, by steps."""
    rounds = label_rounds(split, first, settled)
    wanted, before, begun = next(rounds), "", 0
    while True:
        if not isinstance(wanted, Compare) and wanted.number > begun:
            begun = wanted.number
            words = f"looking for {STAGES[stage]}, round {begun} of at most {split.max_rounds}"
            yield line.begins(f"{stage}-{begun}", words)
            before = yield from _stand(line, f"{stage}-{begun}")
        answer: str | float | int
        match wanted:
            case Predict():
                answer = yield from _out_of_sample(run, line, stage, wanted.number, before)
            case Compare():
                last = line.judged[-1].evidence
                fit = yield from _fit(line, stage, split, wanted.evidence, before)
                inputs = (line.manifest, before, last, line.fits[last], wanted.evidence, fit)
                found = yield from _one(Step("gain", label_noise.gain, inputs))
                answer = float(run.store.read(found).column("gain")[0].as_py())
            case Judge():
                answer = yield from _judge_labels(run, line, stage, split, wanted, before)
                yield from _so_far(run, line)
        try:
            wanted = rounds.send(answer)
        except StopIteration as end:
            ended: End = end.value
            if ended.refused:
                yield Ends("it explained the labels no better, and changes nothing")
            return ended


def _judge_labels(
    run: Run, line: Line, stage: str, split: Split, wanted: Judge, before: str
) -> Generator[Item, None, int]:
    """How many positives are new."""
    fit = yield from _fit(line, stage, split, wanted.evidence, before)
    inputs = (line.manifest, before, wanted.evidence, line.said, fit, line.firsts[split.predictor])
    settings = {**split.model_dump(exclude={"max_rounds", "predictor"}), "stage": stage, "round": wanted.number}
    judged = Judged(stage, wanted.number, before=before, evidence=wanted.evidence)
    settings["by"] = split.predictor
    part = yield from _judge(line, judged, label_noise.verdicts, inputs, settings)
    new, _ = label_noise.changes(run.store.read(before), run.store.read(part))
    yield Ends(f"{count_doubted(run.store.read(part)):,} doubted" + f", {new:,} taken back" * (wanted.number > 1))
    return new


def _fit(line: Line, stage: str, split: Split, evidence: str, before: str) -> Generator[Item, None, str]:
    """How far the models of this evidence are to be believed, once."""
    if evidence not in line.fits:
        inputs, settings = (line.manifest, before, evidence, line.said), {"policy": split.policy}
        line.fits[evidence] = yield from _one(Step(f"{stage}-fit", label_noise.fit, inputs, settings))
        line.firsts.setdefault(split.predictor, line.fits[evidence])
    return line.fits[evidence]


def _carried(run: Run, line: Line) -> str | None:
    """The evidence of `coarse` on which `fine` may judge: where another prediction would be the same."""
    coarse, fine = run.config.coarse, run.config.fine
    alike = coarse.predictor == fine.predictor and label_noise.ACCV not in (coarse.policy, fine.policy)
    return line.judged[-1].evidence if alike else None


def _out_of_sample(run: Run, line: Line, stage: str, number: int, before: str) -> Generator[Item, None, str]:
    predictor = run.predictors[stage]
    together = tuple(range(run.config.folds))
    fold_sets = [together] if predictor.folds_together else [(fold,) for fold in together]
    settings = {"predictor": predictor, "round": number, "seed": run.config.seed, "folds": run.config.folds}
    settings["policy"] = getattr(run.config, stage).policy
    surroundings = {"source": run.source, "workers": run.workers}
    inputs = (line.manifest, before, line.twins, *line.shards)
    name = f"{stage}-{number}-evidence"
    steps = [
        Step(
            name + "-fold" * (len(asked) == 1),
            out_of_sample,
            inputs,
            {**settings, "asked": asked},
            surroundings,
            {"files": predictor.files()},
        )
        for asked in fold_sets
    ]
    yield list(steps)
    if len(steps) == 1:
        return steps[0].output
    return (yield from _one(Step(name, concatenate_by_row, tuple(step.output for step in steps))))


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

    Models learn from each sample as `label_noise.weights` has it, and from what people relabelled under its new label;
    they are asked about every sample that is usable and no junk, whatever the rounds before said of it.
    """
    classes = Classes.of(manifest)
    action, by_person = array(standing, "action"), pc.starts_with(standing.column("by"), PERSON).to_numpy()
    relabelled = (action == Action.RELABEL) & by_person
    labels = classes.encode(pc.if_else(pa.array(relabelled), standing.column("new_label"), standing.column("label")))
    # What people marked as junk is predicted too: it tells what junk looks like to models.
    gone = ~by_person & (action == Action.DROP) & np.isin(array(standing, "stage"), STAGES_BEFORE_LABELS)
    # By the label that it was given, so that an image stays in its fold when people give it another.
    given, groups, keys = (
        classes.encode(standing.column("label")),
        pictures(len(manifest), twins),
        keys_of(manifest, seed),
    )
    task = Task(
        labels=labels,
        train=(action == Action.KEEP) | relabelled,
        weights=label_noise.weights(standing, policy),
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


def _settle_duplicates(run: Run, line: Line) -> Generator[Item, None, None]:
    standing = yield from _stand(line, "duplicates-2")
    inputs = (line.manifest, line.twins, standing)
    yield from _judge(line, Judged("duplicates", 2), duplicates.settled, inputs, {"near": run.config.duplicates.near})


def _small_classes(run: Run, line: Line) -> Plan:
    standing = yield from _stand(line, "small_classes")
    settings = {"min_images": run.config.small_classes.min_images}
    asked = Step("small_classes", small_classes.small_classes, (line.manifest, standing), settings)
    line.small = yield from _one(asked)
    said = yield from _said_of_classes(run)
    inputs = (line.manifest, standing, said)
    yield from _judge(line, Judged("small_classes", 1, before=standing), small_classes.verdicts, inputs, {})


def _ask_of_classes(run: Run, line: Line) -> Generator[Item, None, bool]:
    if not _may_ask(run, "small_classes"):
        return False
    said = yield from _said_of_classes(run)
    most = {"most": run.config.small_classes.max_asked}
    batch = yield from _one(Step("small_classes-batch", small_classes.asked_about, (line.small, said), most))
    if run.store.rows(batch) == 0:
        return False
    yield Ask(_next(run, "small_classes"), line.manifest, batch)
    return True


def _said_of_classes(run: Run) -> Generator[Item, None, str]:
    return _said(run, "small_classes-said", small_classes.said_of_classes, _newest_on_classes, {})


def _stand(line: Line, before: str) -> Generator[Item, None, str]:
    line.standing = yield from _one(Step(f"{before}-standing", stand, (line.manifest, *line.parts)))
    return line.standing


@makes("standing", version=1)
def stand(manifest: pa.Table, *parts: pa.Table) -> pa.Table:
    """What stands after `parts`: a step's form of `ledger.fold`."""
    return fold(manifest, list(parts))
