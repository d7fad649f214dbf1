"""Settings of the system: network and codebook, and how the network learns."""

from typing import Literal, get_args

from pydantic import Field

from chromaflow.settings.base import Group
from chromaflow.settings.codebooks import AnyCodebook, GridCodebook
from chromaflow.settings.losses import LossSettings, WeightedLoss
from chromaflow.settings.networks import AnyNetwork, BackboneNetwork
from chromaflow.settings.quantities import Share

Refinement = Literal["none", "crf", "guided", "joint_bilateral", "superpixels", "total_variation"]


SIZE = 256
"""The shorter side at which a model colors pictures unless it states another, pixels."""
LEAST_SIZE = 32
"""The smallest side at which a model colors pictures, pixels."""


class Model(Group):
    """The system: network, codebook, and how they color pictures."""

    network: AnyNetwork = Field(
        BackboneNetwork(name="efficientnet_lite0"),
        description="predicts the codebook's channels; see docs/systems.md",
    )
    codebook: AnyCodebook = Field(
        GridCodebook(name="grid313"), description="how color is encoded and decoded"
    )
    refine: Refinement = Field("none", description=", ".join(get_args(Refinement)))
    size: int = Field(
        SIZE, ge=LEAST_SIZE, description="shorter side at which pictures are colored, pixels"
    )


class Training(Group):
    """How the network is trained; every setting here may change the weights."""

    losses: LossSettings = Field(
        LossSettings(cross_entropy=WeightedLoss(weight=1.0)),
        description="what is minimized: these losses, each with its weight",
    )
    steps: int = Field(1000, ge=1, description="optimizer steps")
    batch: int = Field(16, ge=1, description="images per step and device")
    accumulate: int = Field(1, ge=1, description="batches per optimizer step")
    crop: int = Field(128, ge=32, description="side of the random crop, pixels")
    mirror: bool = Field(True, description="flip half of the crops horizontally")
    zoom: float = Field(
        0.0, ge=0, le=1, description="crops are scaled by up to 1 + zoom, in or out; 0 turns it off"
    )
    shear: float = Field(
        0.0,
        ge=0,
        le=1,
        description="largest shear of a crop, as a share of its side; 0 turns it off",
    )
    shuffle_shards: int = Field(
        0,
        ge=0,
        description="Lab shards whose images are shuffled together; 0: all; for runtime.mirror",
    )
    initialization: Literal["torch", "xavier", "he"] = Field(
        "torch", description="of layers without published weights; torch: each layer's default"
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
        "one_cycle", description="of the rate: one_cycle (warm-up, cosine decay), constant or drops"
    )
    warmup: Share = Field(0.1, description="share of the steps in which the learning rate rises")
    drops: list[Share] = Field([], description="shares of the steps after which the rate falls")
    drop_factor: float = Field(
        0.1, gt=0, lt=1, description="factor of the learning rate at each drop"
    )
    backbone_rate: float = Field(
        0.3, ge=0, description="the backbone's learning rate relative to the rest; 0 freezes it"
    )
    unfreeze: Share = Field(
        0.0, description="share of the steps before the backbone is trained, too"
    )
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    ema: float = Field(
        0.99, ge=0, lt=1, description="decay of the moving average of the weights; 0 turns it off"
    )
    validate_every: int = Field(100, ge=1, description="steps between validations")
    patience: int = Field(
        0, ge=0, description="validations without improvement before early stopping; 0: never"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="of the forward and backward pass"
    )
    accelerator: Literal["cpu", "gpu", "auto"] = Field("auto", description="device to train on")
    devices: int = Field(1, ge=1, description="accelerators to train on")
    threads: int = Field(
        2, ge=1, description="CPU threads; the number affects rounding, and so the weights"
    )
    compile: bool = Field(False, description="use torch.compile")
