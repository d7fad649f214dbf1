"""Settings of the system: network and codebook, and how the network learns."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from chromaflow.settings.base import Group
from chromaflow.settings.quantities import Share

# A new one is one module or class of that name in `chromaflow.models`, and its name here; so that a
# name that is not known is told before anything is fetched, without importing torch. The same goes
# for the codebooks of `chromaflow.color` and the losses of `chromaflow.training`.
NetworkName = Literal[
    "attention_fusion",
    "cheng",
    "dahl",
    "ddcolor",
    "efficientnet_lite0",
    "hwang_zhou",
    "iizuka",
    "koalarization",
    "larsson",
    "propagation",
    "richart",
    "unet",
    "vcnn",
    "zhang2016",
    "zhang2017",
]
CodebookName = Literal["grid313", "grid529", "channel50", "hue_chroma", "som", "regression"]
LossName = Literal[
    "cross_entropy",
    "kl",
    "l2",
    "l1",
    "huber",
    "adversarial",
    "perceptual",
    "colorfulness",
    "scene",
    "suggestions",
]
Refinement = Literal["none", "crf", "guided", "joint_bilateral", "superpixels", "total_variation"]


class Model(Group):
    """The system: network, codebook, and what refines the color that they give."""

    network: NetworkName = Field("efficientnet_lite0", description="docs/systems.md tells them")
    width: float = Field(1.0, gt=0, le=8, description="channels, over those that were published")
    depth: float = Field(
        1.0, gt=0, le=8, description="layers alike, over those that were published"
    )
    backbone: str = Field("", description="of timm by name; empty: the one of the network's paper")
    weights: str = Field(
        "published",
        description="of the backbone: published, none, or a safetensors file in timm's terms",
    )
    codebook: CodebookName = Field("grid313", description=", ".join(get_args(CodebookName)))
    neighbors: int = Field(
        5, ge=1, description="grid313, grid529: bins of a soft encoding, as published"
    )
    sigma: float = Field(5.0, gt=0, description="grid313, grid529: of its Gaussian, CIE units")
    temperature: float = Field(
        0.38,
        gt=0,
        le=1,
        description="of the annealed mean, 0.38 as published by Zhang et al. 2016; hue_chroma and "
        "regression have none",
    )
    bins: int = Field(50, ge=2, le=256, description="channel50: of a and of b each, as published")
    hue_weight: float = Field(
        5.0, gt=0, description="hue_chroma: of the loss of hue over that of chroma, as published"
    )
    fading: bool = Field(True, description="hue_chroma: less chroma where the hue is uncertain")
    neurons: int = Field(9, ge=2, le=1024, description="som: colors to learn; 4 or 9 as published")
    ab_range: float = Field(
        128.0, gt=0, description="regression: ab, CIE units, that an output of 1 stands for"
    )
    bounded: bool = Field(True, description="regression: tanh keeps ab within ab_range")
    refine: Refinement = Field("none", description=", ".join(get_args(Refinement)))


class Training(Group):
    """How the network learns; whatever is here may change the weights."""

    losses: dict[LossName, Annotated[float, Field(gt=0)]] = Field(
        {"cross_entropy": 1.0}, min_length=1, description="what is minimized: loss and its weight"
    )
    rebalance: float = Field(
        0.5, ge=0, le=1, description="share of the uniform in the prior; 1 weighs all colors alike"
    )
    huber_threshold: float = Field(
        10.0, gt=0, description="huber: a larger error counts as it is, not squared; CIE units"
    )
    perceptual_backbone: str = Field(
        "", description="perceptual: of timm by name, such as vgg16; empty: tf_efficientnet_lite0"
    )
    perceptual_weights: str = Field(
        "published", description="of that backbone: published, or a safetensors file"
    )
    discriminator_width: float = Field(
        1.0, gt=0, le=8, description="adversarial: channels, over those that were published"
    )
    discriminator_rate: float = Field(
        1.0, gt=0, description="adversarial: the discriminator's learning rate over the network's"
    )
    steps: int = Field(1000, ge=1, description="optimizer steps")
    batch: int = Field(16, ge=1, description="images a step and device")
    accumulate: int = Field(1, ge=1, description="batches an optimizer step")
    crop: int = Field(128, ge=32, description="side of the random crop, pixels")
    mirror: bool = Field(True, description="mirror half of the crops, left to right")
    zoom: float = Field(
        0.0, ge=0, le=1, description="crops show up to 1 + zoom times more or less; 0 turns it off"
    )
    shear: float = Field(
        0.0, ge=0, le=1, description="most that rows of a crop are moved, sides a side; 0: not"
    )
    shuffle_shards: int = Field(
        0, ge=0, description="Lab shards whose images are mixed; 0 mixes all; for runtime.mirror"
    )
    initialization: Literal["torch", "xavier", "he"] = Field(
        "torch", description="of what has no published weights; torch: each layer's own default"
    )
    optimizer: Literal["adamw", "adam", "sgd", "adadelta"] = Field(
        "adamw", description="of the network"
    )
    learning_rate: float = Field(1e-3, gt=0, description="peak of the schedule")
    betas: list[Share] = Field(
        [0.9, 0.999],
        min_length=2,
        max_length=2,
        description="of Adam; the first is SGD's momentum, or the decay of ADADELTA",
    )
    weight_decay: float = Field(1e-2, ge=0, description="of the optimizer")
    schedule: Literal["one_cycle", "constant", "drops"] = Field(
        "one_cycle", description="of the rate: up and a cosine down; or level; or level with drops"
    )
    warmup: Share = Field(0.1, description="share of the steps in which the learning rate rises")
    drops: list[Share] = Field([], description="shares of the steps after which the rate falls")
    drop_factor: float = Field(0.1, gt=0, lt=1, description="what each of them leaves of the rate")
    backbone_rate: float = Field(
        0.3, ge=0, description="the backbone's learning rate over the rest's; 0 freezes it"
    )
    unfreeze: Share = Field(0.0, description="share of the steps until the backbone learns, too")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: any")
    ema: float = Field(
        0.99, ge=0, lt=1, description="decay of the averaged weights; 0 turns it off"
    )
    validate_every: int = Field(100, ge=1, description="steps between validations")
    patience: int = Field(0, ge=0, description="validations without gain before stopping; 0: never")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="arithmetic of the forward and backward pass"
    )
    accelerator: Literal["cpu", "gpu", "auto"] = Field("auto", description="where to train")
    devices: int = Field(1, ge=1, description="accelerators to train on")
    threads: int = Field(
        2, ge=1, description="threads of the CPU; another number rounds sums in another order"
    )
    compile: bool = Field(False, description="torch.compile the network")
