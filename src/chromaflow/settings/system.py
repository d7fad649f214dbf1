"""Settings of the system: network and codebook, and how the network learns."""

from typing import Literal, get_args

from pydantic import Field

from chromaflow.settings.base import Group
from chromaflow.settings.codebooks import AnyCodebook, GridCodebook
from chromaflow.settings.losses import LossSettings, WeightedLoss
from chromaflow.settings.networks import AnyNetwork, BackboneNetwork
from chromaflow.settings.quantities import Share

Refinement = Literal["none", "crf", "guided", "joint_bilateral", "superpixels", "total_variation"]


class Model(Group):
    """The system: network, codebook, and how they are used to color pictures."""

    network: AnyNetwork = Field(
        BackboneNetwork(name="efficientnet_lite0"),
        description="what gives the codebook's channels; docs/systems.md tells them",
    )
    codebook: AnyCodebook = Field(
        GridCodebook(name="grid313"), description="how color is written and read back"
    )
    refine: Refinement = Field("none", description=", ".join(get_args(Refinement)))
    size: int = Field(256, ge=32, description="shorter side at which it colors pictures, pixels")


class Training(Group):
    """How the network learns; whatever is here may change the weights."""

    losses: LossSettings = Field(
        LossSettings(cross_entropy=WeightedLoss(weight=1.0)),
        description="what is minimized: these losses, each with its weight",
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
