"""Images of poor quality: said of every image, and none is dropped for it unless the settings ask for that."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from cleaner.methods import quality
from cleaner.plan.issues import poor
from cleaner.plan.items import Ends, Plan, one
from cleaner.plan.so_far import SoFar, judge
from cleaner.plan.stage import Stage
from cleaner.run.state import Judged
from cleaner.run.steps import Step
from cleaner.run.store import Store
from cleaner.tables import Action
from cleaner.words import Issue

if TYPE_CHECKING:
    from cleaner.plan.runs import Run

Score = Literal["dark", "light", "blurry", "low_information", "odd_aspect_ratio", "odd_size"]
_COST = 0.02
_HALF = 0.5


class Quality(Stage):
    """Images that are dark, light, blurry, nearly empty, or of an odd shape or size. The scores and what they mean are
    cleanvision's: below its threshold an image is listed as an issue."""

    title: ClassVar[str] = "images of poor quality"
    gallery: ClassVar[str] = "Dropped for poor quality"
    issue: ClassVar[Issue] = Issue.POOR_QUALITY

    drop: tuple[Score, ...] = Field(
        default=(),
        description="for which an image is dropped, of `dark`, `light`, `blurry`, `low_information`,"
        " `odd_aspect_ratio`, `odd_size`; none: images are only listed",
    )
    dark: float = Field(
        default=0.32, ge=0, le=1, description="least brightness of the brightest hundredth of the pixels"
    )
    light: float = Field(
        default=0.05, ge=0, le=1, description="least darkness, 1 less the brightness, of the darkest twentieth"
    )
    blurry: float = Field(
        default=0.29,
        ge=0,
        le=1,
        description="least sharpness: how far pixels differ from those around them, at 64 pixels",
    )
    low_information: float = Field(
        default=0.3, ge=0, le=1, description="least entropy of the pixels' values, of ten bits"
    )
    odd_aspect_ratio: float = Field(
        default=0.35, ge=0, le=1, description="least ratio of an image's shorter side to its longer one"
    )
    odd_size: float = Field(
        default=3.0,
        ge=0,
        le=1000,
        description="interquartile ranges by which the root of an image's area may lie below the first quartile of all,"
        " or above the third",
    )

    def costs(self, run: "Run", *, predicted: bool) -> Mapping[str, float]:
        return {self.name: _COST}

    def run(self, run: "Run", so_far: SoFar) -> Plan[SoFar]:
        yield so_far.data.outline.begins(self.name, f"looking for {self.title}")
        inputs, spread = (so_far.manifest, so_far.data.pixel_quality), {"spread": self.odd_size}
        found = yield from one(Step("quality", quality.quality, inputs, spread))
        thresholds = {name: getattr(self, name) for name in ("dark", "light", "blurry", "low_information")}
        thresholds |= {"odd_aspect_ratio": self.odd_aspect_ratio, quality.SIZE: _HALF}
        settings = {"thresholds": thresholds, "drop": self.drop}
        so_far = yield from judge(so_far, Judged(self.name, 1), quality.verdicts, (so_far.manifest, found), settings)
        verdicts = run.store.read(so_far.judged[-1].verdicts)
        dropped = pc.sum(pc.equal(verdicts.column("action"), Action.DROP.value)).as_py() or 0
        yield Ends(f"{len(verdicts):,} found" + f", {dropped:,} dropped" * bool(self.drop))
        return so_far.leaves(self.name, found)

    def issues(self, store: Store, so_far: SoFar) -> Iterator[pa.Table]:
        found = next(judged.verdicts for judged in so_far.judged if judged.stage == self.name)
        yield poor(store.read(so_far.standing), store.read(found), store.read(so_far.tables[self.name]))

    def summary(self, store: Store, so_far: SoFar) -> Mapping[str, Any]:
        found = next(judged.verdicts for judged in so_far.judged if judged.stage == self.name)
        return {"poor_quality": len(store.read(found))}
