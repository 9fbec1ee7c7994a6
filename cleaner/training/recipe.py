"""A recipe: everything a training depends on besides its data and its seed. A TOML file, one model of it here."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from cleaner import parts
from cleaner.errors import ConfigError, nearest
from cleaner.settings import Section, assign, complaints
from cleaner.training import losses
from cleaner.training.batch import Augmentation

SMOKE = "smoke"
_SMOKE_SIDE, _SMOKE_IMAGES = 64, 64


class Network(Section):
    """One network that is trained."""

    backbone: str = Field(description="a timm model's name")
    image_size: int = Field(default=224, ge=16, le=2048, description="side in pixels of what it sees")
    pretrained: bool = Field(default=True, description="begin with published weights")
    weights: Path | None = Field(default=None, description="begin with these, a safetensors file")
    prior_bias: bool = Field(
        default=False, description="the head's bias is the logarithm of the classes' shares, and stays so"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="before the head")
    drop_path: float = Field(default=0.0, ge=0, lt=1, description="stochastic depth, where the network has it")
    checkpointing: bool = Field(default=False, description="less memory for more time: activations are made twice")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="decay of the moving average of the weights that is kept; 0: none"
    )


class Phase(Section):
    """Epochs with one optimiser."""

    optimiser: str = Field(
        default="sgd", description="as timm calls it: `sgd` (Nesterov), `radam`, `adamw`, `lamb`, ..."
    )
    epochs: int = Field(default=10, ge=1, le=10_000, description="how many")
    lr: float = Field(default=1.0, gt=0, le=1e3, description="factor of the learning rate in this phase")
    weight_decay: float = Field(default=1e-4, ge=0, le=10, description="of all but biases and norms")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="where the optimiser has one")
    sam: float = Field(
        default=0.0, ge=0, le=10, description="radius of sharpness-aware minimisation, at twice the time; 0: without"
    )


class Optimisation(Section):
    """The optimiser and its schedule."""

    phases: tuple[Phase, ...] = Field(
        default=(Phase(),), min_length=1, max_length=20, description="one after the other"
    )
    lr: float = Field(default=0.03, gt=0, le=100, description="learning rate at an effective batch of `lr_batch`")
    lr_batch: int = Field(default=2000, ge=1, description="the rate grows and shrinks with the effective batch")
    schedule: Literal["cosine", "one_cycle", "cyclic", "constant"] = Field(
        default="cosine", description="how the rate goes over all epochs, after the warm-up"
    )
    cycles: int = Field(default=4, ge=1, le=1000, description="of the schedule `cyclic`")
    warmup: float = Field(default=1.0, ge=0, le=1000, description="epochs in which the rate grows from nothing")
    batch: int = Field(default=64, ge=1, le=65_536, description="images at once on one device")
    effective_batch: int = Field(
        default=64, ge=1, le=1_000_000, description="images a step; gradients of several batches are added up to it"
    )
    processes: int = Field(
        default=0, ge=0, le=1024, description="that train together, one a device; 0: one for each GPU there is"
    )
    clip: float = Field(default=0.0, ge=0, le=1e6, description="largest norm of the gradient; 0: any")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="of the forward pass; `auto`: bfloat16 on a GPU, float32 on a CPU"
    )
    select: Literal["last", "best"] = Field(
        default="last", description="the epoch whose network is kept; `best`: on the validation images"
    )
    compile: bool = Field(default=False, description="torch.compile: minutes at the start, faster steps on a GPU")

    @model_validator(mode="after")
    def _scales_once(self) -> "Optimisation":
        if self.precision == "float16" and any(phase.sam for phase in self.phases):
            raise ValueError("sam and precision = float16 do not go together; take bfloat16")
        return self

    @property
    def epochs(self) -> int:
        return sum(phase.epochs for phase in self.phases)

    def phase(self, epoch: int) -> tuple[int, Phase]:
        """The number of the phase to which `epoch`, from 0, belongs, and it."""
        for number, phase in enumerate(self.phases):
            if epoch < phase.epochs:
                return number, phase
            epoch -= phase.epochs
        return len(self.phases) - 1, self.phases[-1]


class Loss(Section):
    """The loss function."""

    name: Literal["cross_entropy", "focal", "focal_cross_entropy", "generalised", "symmetric"] = Field(
        default="cross_entropy",
        description="`focal_cross_entropy`: half each; `generalised` and `symmetric` resist noise that is left",
    )
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of each label given to all classes")
    gamma: float = Field(default=2.0, ge=0, le=10, description="of focal loss")
    q: float = Field(default=0.7, gt=0, le=1, description="of generalised cross-entropy")
    alpha: float = Field(default=0.1, ge=0, le=100, description="of symmetric cross-entropy: the plain part")
    beta: float = Field(default=1.0, ge=0, le=100, description="of symmetric cross-entropy: the reverse part")

    def made(self) -> losses.Loss:
        match self.name:
            case "focal":
                loss = losses.focal(self.gamma)
            case "focal_cross_entropy":
                loss = losses.focal_and_plain(self.gamma)
            case "generalised":
                loss = losses.generalised(self.q)
            case "symmetric":
                loss = losses.symmetric(self.alpha, self.beta)
            case _:
                loss = losses.plain
        return losses.smoothed(loss, self.smoothing) if self.smoothing else loss


class Samples(Section):
    """Which images are learnt from, and how often."""

    relabelled: Literal["use", "leave_out"] = Field(
        default="use", description="images of which cleaning has changed the label"
    )
    weigh: bool = Field(default=False, description="each image counts as far as its label is believed")
    balance: Literal["none", "third", "square_root", "class_balanced"] = Field(
        default="none",
        description="how often classes are seen: as they are; small ones repeated up to a third of the largest; by the"
        " square root of their size; all as often",
    )
    most: int | None = Field(default=None, ge=1, description="images to learn from and to test on, at most")
    validation: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="share of the images that is not learnt from, but looked at after each epoch: recipes are tuned by"
        " it, not by the test set; where a data set has a split for that beside its test set, it is that one",
    )
    margin: float = Field(
        default=1.15, ge=1, le=2, description="images are kept decoded at this times the network's size, for crops"
    )
    keep_decoded: bool = Field(default=True, description="keep decoded images on disk; else decode each time")


class Recipe(Section):
    """How a model is made of a clean set."""

    description: str = Field(default="", description="what it is for")
    networks: tuple[Network, ...] = Field(min_length=1, max_length=50, description="each is trained by itself")
    samples: Samples = Samples()
    augment: tuple[dict[str, Any], ...] = Field(
        default=(), description="augmentations in their order, each with its `name` and its settings"
    )
    loss: Loss = Loss()
    optimisation: Optimisation = Optimisation()

    @model_validator(mode="after")
    def _augmentations_are_there(self) -> "Recipe":
        wrong = []
        for settings in self.augment:
            rest = {name: value for name, value in settings.items() if name != "name"}
            try:
                parts.check("augmentations", str(settings.get("name")), rest)
            except ConfigError as error:
                wrong.append(str(error))
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def augmentations(self) -> list[Augmentation]:
        made = ({**settings} for settings in self.augment)
        return [parts.make("augmentations", settings.pop("name"), settings) for settings in made]


def recipes() -> list[str]:
    """The names of the recipes that come with cleaner."""
    folder = resources.files("cleaner.training") / "recipes"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read_recipe(named: str, assignments: list[str], preset: str | None = None) -> Recipe:
    """The recipe of a name, or in a TOML file, overlaid by assignments `a.b=value`, shrunk by a preset.

    Raises:
        ConfigError: with every wrong key and value in one message.
    """
    settings = _read(named)
    for assignment in assignments:
        assign(settings, assignment)
    if preset == SMOKE:
        settings = _smoke(settings)
    elif preset is not None:
        raise ConfigError(f"no preset {preset} (known: {SMOKE})")
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"recipe {named}: " + "; ".join(complaints(Recipe, error))) from error


def _read(named: str) -> dict[str, Any]:
    known = recipes()
    try:
        if named in known:
            return tomllib.loads((resources.files("cleaner.training") / "recipes" / f"{named}.toml").read_text("utf-8"))
        if not named.endswith(".toml"):
            raise ConfigError(f"no recipe {named}{nearest(named, known)}; a file of your own ends with .toml")
        return tomllib.loads(Path(named).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{named}: can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{named}: no valid TOML ({error})") from error


def _smoke(settings: dict[str, Any]) -> dict[str, Any]:
    """The same recipe in seconds: few and small images, an epoch a phase, nothing fetched or compiled; all else is as
    it was."""
    small = {"image_size": _SMOKE_SIDE, "pretrained": False, "weights": None}
    optimisation = dict(settings.get("optimisation", {}))
    phases = [{**phase, "epochs": 1} for phase in optimisation.get("phases", [{}])]
    optimisation |= {"phases": phases, "batch": 8, "effective_batch": 16, "warmup": 0.5, "compile": False}
    return settings | {
        "networks": [{**network, **small} for network in settings.get("networks", [])],
        "samples": {**settings.get("samples", {}), "most": _SMOKE_IMAGES},
        "optimisation": optimisation,
    }
