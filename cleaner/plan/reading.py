"""Reads a data set: the manifest, then what its images look like."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from cleaner.data.images import FORMATS
from cleaner.data.scan import QUALITY_COLUMN, scan
from cleaner.data.sources import Source
from cleaner.errors import SourceError
from cleaner.evidence.features import PIXELS, UNPACED, choose, embed, engine, pace, shard_size, sound
from cleaner.plan.items import Ends, Plan, Reached, one
from cleaner.plan.outline import outline_of
from cleaner.plan.so_far import Data, SoFar
from cleaner.run.files import digest
from cleaner.run.steps import Step, makes, sayable
from cleaner.tables import PIXEL_QUALITY, STAMPS, Classes, unusable_classes
from cleaner.words import counted, shown

if TYPE_CHECKING:
    from cleaner.plan.runs import Run


def read(run: "Run") -> Plan[Data]:
    """The listing and the manifest; images that were read before and have not changed are not read again."""
    outline = outline_of(run, by_network=run.config.features.backbone != PIXELS)
    yield outline.begins("reading", "reading the images")
    cache_key = {"fingerprint": run.origin.fingerprint, "verified": run.origin.verified}
    listing = yield from one(Step("listing", list_source, (), {}, {"source": run.source}, cache_key))
    stamps = yield from one(Step("stamps", stamp, (), {}, {"source": run.source}, cache_key))
    settings = {"max_pixels": run.config.scan.max_pixels, "formats": FORMATS}
    read_by = digest(vars(scan)["version"], settings, run.origin.verified)
    before = run.before if run.before is not None and run.before.names.read_by == read_by else None
    resources = {"source": run.source, "workers": run.workers, "before": before}
    count, shards = run.store.rows(listing), []
    for start in range(0, count, run.config.scan.shard):
        span = {"start": start, "stop": min(start + run.config.scan.shard, count)}
        shards.append(Step(f"scan-{start}", scan, (listing,), {**span, **settings}, resources))
    yield list(shards)
    parts = tuple(shard.output for shard in shards)
    manifest = yield from one(Step("manifest", gather, parts))
    pixel_quality = yield from one(Step("pixel-quality", gather_pixel_quality, parts))
    data = Data(outline, listing, stamps, read_by, manifest, pixel_quality)
    yield Reached(SoFar(data))
    yield Ends(_what_was_read(run.store.read(manifest)) + _what_changed(run, data))
    return data


def see(run: "Run", data: Data) -> Plan[Data]:
    """The features of the images; those that can't be decoded whole are marked in the manifest."""
    wanted = run.config.features
    manifest = run.store.read(data.manifest)
    backbone = choose(wanted.backbone, weights=wanted.weights, image_size=wanted.image_size, manifest=manifest)
    outline = outline_of(run, by_network=backbone.name != PIXELS)
    what = "their pixels" if backbone.name == PIXELS else f"{backbone.name} at {backbone.image_size} pixels"
    yield outline.begins("features", f"computing what the images look like, by {what}")
    settings = {"backbone": backbone, "max_pixels": run.config.scan.max_pixels}
    resources: dict[str, Any] = {"source": run.source, "workers": run.workers}
    cache_key = {"engine": engine() if backbone.name != PIXELS else ""}
    named = {name: sayable(value) for name, value in settings.items()}
    features_by = digest(vars(embed)["version"], named, cache_key)
    before = run.before if run.before is not None and run.before.names.features_by == features_by else None
    shard = wanted.shard
    if len(manifest) > UNPACED:
        paced = yield from one(Step("features-pace", pace, (data.manifest,), settings, resources, cache_key))
        shard = shard_size(run.store.read(paced).column("images_per_second")[0].as_py(), wanted.shard)
    steps, resources = [], resources | {"before": before}
    for start in range(0, len(manifest), shard):
        span = {"start": start, "stop": min(start + shard, len(manifest))}
        steps.append(Step(f"features-{start}", embed, (data.manifest,), {**settings, **span}, resources, cache_key))
    yield list(steps)
    shards = tuple(step.output for step in steps)
    whole = yield from one(Step("manifest-sound", sound, (data.manifest, *shards)))
    seen = {"shards": shards, "features_by": features_by, "backbone": sayable(backbone)}
    data = replace(data, outline=outline, manifest=whole, **seen)
    yield Reached(SoFar(data))
    yield Ends("")
    return data


def _what_changed(run: "Run", data: Data) -> str:
    """What is new, gone or other than before; empty where all is the same."""
    if run.before is None or run.before.names.stamps == data.stamps:
        return ""
    was, now = run.before.manifest, run.store.read(data.manifest)
    place = pc.index_in(now.column("path"), value_set=was.column("path").combine_chunks())
    both = place.is_valid()
    then = was.column("content_hash").take(place.filter(both))
    same = pc.equal(pc.fill_null(now.column("content_hash").filter(both), ""), pc.fill_null(then, ""))
    kept = pc.sum(both).as_py() or 0
    counts = {"new": len(now) - kept, "gone": len(was) - kept, "changed": kept - (pc.sum(same).as_py() or 0)}
    changes = ", ".join(f"{count:,} {words}" for words, count in counts.items() if count)
    return f"; since it was read before: {changes}" if changes else ""


def _what_was_read(manifest: pa.Table) -> str:
    classes = counted(len(Classes.of(manifest).names), "class", "classes")
    read = f"{counted(len(manifest), 'image')} of {classes}"
    unusable = len(manifest) - manifest.column("problem").null_count
    lost = unusable_classes(manifest)
    gone = f"; no image can be used of {shown(lost)}" if lost else ""
    return f"{read}, {unusable:,} of them unreadable{gone}" if unusable else read


@makes("listing", version=1)
def list_source(*, source: Source) -> pa.Table:
    """The source's listing."""
    return source.listing()


@makes("stamps", version=2)
def stamp(*, source: Source) -> pa.Table:
    """The source's STAMPS; of one that has none an empty table."""
    found = source.stamps()
    return STAMPS.empty_table() if found is None else found


@makes("pixel_quality", version=1)
def gather_pixel_quality(*shards: pa.Table) -> pa.Table:
    """The PIXEL_QUALITY of all shards."""
    pixel_quality = pa.chunked_array(
        [chunk for shard in shards for chunk in shard.column(QUALITY_COLUMN).chunks], pa.struct(list(PIXEL_QUALITY))
    )
    # Where an image can't be used the struct is null, and what it has is.
    return pa.table([pc.struct_field(pixel_quality, name) for name in PIXEL_QUALITY.names], PIXEL_QUALITY)


@makes("manifest", version=1)
def gather(*shards: pa.Table) -> pa.Table:
    """The manifest of all shards.

    Raises:
        SourceError: fewer than two classes have an image that can be used.
    """
    manifest = pa.concat_tables(shards).drop_columns([QUALITY_COLUMN]).combine_chunks()
    if len(Classes.of(manifest).names) < 2:
        first = next((problem for problem in manifest.column("problem").to_pylist() if problem), "")
        unusable = f"{manifest.column('problem').drop_null().length()} of {len(manifest)}"
        raise SourceError(f"fewer than two classes have usable images: {unusable} can't be used, the first: {first}")
    return manifest
