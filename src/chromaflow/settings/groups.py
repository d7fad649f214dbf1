"""Every setting: its name, unit, default and meaning; the only place that knows a default."""

import re
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chromaflow.settings.fitting import check_fit
from chromaflow.settings.quantities import Bytes, Part, Port, Seconds, Server, Share


class Group(BaseModel):
    """Settings that belong together; unknown keys and wrong types are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), strict=True, allow_inf_nan=False
    )


# A new source is one module `chromaflow.sources.<name>` and its name here.
SourceName = Literal[
    "sample", "folder", "cvcl", "coco", "imagenet", "unsplash", "urls", "huggingface"
]


class Source(Group):
    """Where the images come from."""

    name: SourceName = Field(
        "sample", description=", ".join(get_args(SourceName)) + "; docs/data.md tells them"
    )
    folder: str = Field("", description="folder: the folder of your own photographs")
    archive: str = Field(
        "",
        description="cvcl, coco, imagenet, unsplash: what is on disk already, an archive or a "
        "folder in the published layout; empty fetches it",
    )
    annotations: str = Field(
        "", description="coco: annotations on disk, JSON or their zip archive; empty fetches them"
    )
    table: str = Field("", description="urls: the CSV, TSV or Parquet file of addresses")
    repository: str = Field("", description="huggingface: the data set, OWNER/NAME")
    revision: str = Field("main", description="huggingface: branch, tag or commit")
    image_column: str = Field("image", description="huggingface: the column of images")
    label_column: str = Field("label", description="huggingface: of labels; empty: there is none")
    address: str = Field("", description="fetch from here, such as a mirror; empty: the publisher")
    subset: str = Field(
        "",
        description="coco: train2017 or val2017; imagenet, huggingface: train, validation or test; "
        "empty: the training images",
    )
    categories: list[str] = Field(
        [],
        description="cvcl, coco, imagenet, huggingface: the labels to take; of imagenet also "
        "WordNet ids or names of wider terms; empty takes all",
    )
    images: int = Field(0, ge=0, description="draw so many, by a hash of their urls; 0 takes all")
    salt: str = Field("chromaflow", description="another text draws other images")
    width: int = Field(0, ge=0, description="unsplash: width to fetch, pixels; 0: as taken")
    historic: str = Field(
        "", description="folder of grey photographs to color and look at; they never train or judge"
    )
    license: str = Field("unknown", description="where the source itself tells none")
    tile: int = Field(128, ge=32, description="sample: side of a tile, pixels")
    shard_images: int = Field(256, ge=1, description="images in one raw shard, at most")
    max_pixels: int = Field(
        100_000_000, ge=1, description="a larger picture is taken for a decompression bomb"
    )


class Download(Group):
    """How files come from servers; nothing here changes their bytes, so no stage depends on it."""

    connections: int = Field(32, ge=1, le=256, description="at once, over all hosts")
    connections_per_host: int = Field(8, ge=1, le=64, description="at once, to one host")
    host_delay: Seconds = Field(
        "0s", validate_default=True, description="between the starts of two requests to one host"
    )
    contact: str = Field("", description="mail or page that the User-Agent tells servers")
    retries: int = Field(4, ge=0, description="of a file, for reasons that may pass")
    retry_delay: Seconds = Field(
        "0.5s", validate_default=True, description="before the first retry; doubles, with jitter"
    )
    longest_wait: Seconds = Field(
        "2min", validate_default=True, description="longest that a server may ask to wait"
    )
    connect_timeout: Seconds = Field("15s", validate_default=True, description="to reach a host")
    stall_timeout: Seconds = Field(
        "60s", validate_default=True, description="with less than 1 kB/s, until a retry"
    )
    largest_file: Bytes = Field("256MiB", validate_default=True, description="larger is refused")
    typical_file: Bytes = Field(
        "256KiB", validate_default=True, description="taken for a size that is not known"
    )
    reserve: Bytes = Field("2GiB", validate_default=True, description="of the disk, to stay free")
    proxy: str = Field("", description="http://HOST:PORT; empty: HTTPS_PROXY and HTTP_PROXY")
    mirrors: dict[str, str] = Field({}, description="start of an address: what replaces it")


class Quality(Group):
    """What an image must be to enter training; the rest goes to quarantine with its reasons."""

    min_side: int = Field(64, ge=1, description="shorter side, pixels")
    max_side: int = Field(30_000, ge=1, description="longer side, pixels")
    max_aspect: float = Field(4.0, ge=1, description="longer side over shorter side")
    min_chroma: float = Field(
        3.0, ge=0, description="mean chroma, CIE Lab units; below it an image is grey"
    )
    min_chroma_spread: float = Field(
        2.5, ge=0, description="standard deviation of chroma; below it an image is tinted or sepia"
    )
    min_free_share: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="share of the chroma that lightness does not tell; below it tinted or sepia",
    )
    min_luma_spread: float = Field(
        2.0, ge=0, description="standard deviation of L*, 0 to 100; below it an image is blank"
    )
    licenses: list[str] = Field(
        [], description="allowed, by name or pattern such as CC*; empty allows all that are told"
    )
    labels: list[str] = Field([], description="known, by name or pattern; empty knows all")
    duplicate_distance: int = Field(
        4,
        ge=0,
        le=16,
        description="bits of 64 by which the perceptual hashes of near-duplicates differ",
    )
    min_images: int = Field(8, ge=1, description="accepted images that the table must hold")
    min_label_images: int = Field(1, ge=1, description="accepted images that each label must have")
    max_label_share: float = Field(
        1.0, gt=0, le=1, description="largest share of the accepted images under one label"
    )
    max_drift: float = Field(
        0.25,
        ge=0,
        description="population stability index of mean chroma against the last accepted "
        "snapshot; 0 does not ask",
    )


class Split(Group):
    """Which image trains and which one judges; near-duplicates always go together."""

    train: Part = Field(0, description="images that train: a count, a share, or 0 for all others")
    validation: Part = Field(0.1, description="held out while training: a count or a share")
    test: Part = Field(0.15, description="held out for evaluation: a count or a share")
    salt: str = Field("chromaflow", description="another text gives another split")
    hints: bool = Field(True, description="follow the splits that the source itself tells")

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "Split":
        if self.train >= 1 and self.test < 1:
            return self  # All others test, and validation is a share of those.
        parts = (self.train, self.validation, self.test)
        shares = sum(part for part in parts if part < 1)
        if shares >= 1 and not self.train:
            raise ValueError("split.validation and split.test leave nothing to train")
        if shares > 1 + 1e-9:
            raise ValueError("split.train, split.validation and split.test are more than the whole")
        return self


class Preprocess(Group):
    """How photographs become Lab shards."""

    size: int = Field(256, ge=32, description="shorter side of a stored image, pixels")
    shard_size: Bytes = Field("16MiB", validate_default=True, description="largest Lab shard")


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
Refinement = Literal[
    "none", "crf", "guided", "joint_bilateral", "superpixels", "total_variation"
]


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


class Runtime(Group):
    """How this machine works; nothing here changes a result, so no stage depends on it."""

    checkpoint_every: Seconds = Field("30s", validate_default=True, description="while training")
    processes: int = Field(0, ge=0, description="that preprocess; 0: one for each core")
    workers: int = Field(0, ge=0, description="processes that read shards while training")
    mirror: str = Field(
        "", description="address of a copy of data/lab with the shards that this disk lacks"
    )
    mirror_cache: Bytes = Field(
        "20GiB", validate_default=True, description="most that is kept of the mirror's shards"
    )
    pictures_every: int = Field(250, ge=1, description="steps between picture grids in MLflow")


class Evaluation(Group):
    """How the held-out images judge a model."""

    size: int = Field(256, ge=32, description="every image is squeezed to this side, pixels")
    pictures: int = Field(12, ge=0, description="held-out images to show")


class Promotion(Group):
    """When a model takes the champion's place."""

    metric: Literal["auc_rebalanced", "auc", "psnr", "delta_e_2000"] = Field(
        "auc_rebalanced", description="decides, by a paired bootstrap over the held-out images"
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="share of the resamples in which the gain must be above zero",
    )
    resamples: int = Field(10_000, ge=100, description="of the bootstrap")


class Tracking(Group):
    """Where experiments and models are recorded."""

    uri: str = Field("", description="address of MLflow; empty: sqlite in .chromaflow")
    experiment: str = Field("chromaflow", description="of MLflow")
    model: str = Field(
        "chromaflow", pattern=r"^[^/:]+$", description="name in the model registry, without / or :"
    )

    @field_validator("uri")
    @classmethod
    def _needs_a_scheme(cls, value: str) -> str:
        if value and not re.match(r"[a-z][a-z0-9+.-]*:", value):
            raise ValueError(
                "write an address such as http://127.0.0.1:5000 or sqlite:///mlflow.db"
            )
        return value


class Lineage(Group):
    """Whom to tell, by OpenLineage, where each snapshot came from."""

    url: Server = Field("", description="address of a lineage server; empty sends nothing")
    namespace: str = Field("chromaflow", min_length=1, description="of its jobs and data sets")


class Servers(Group):
    """The local servers of `chromaflow up`."""

    host: str = Field("127.0.0.1", description="address to bind; others than loopback are public")
    mlflow_port: Port = Field(5000, description="of MLflow")
    prefect_port: Port = Field(4200, description="of Prefect")
    start_timeout: Seconds = Field("90s", validate_default=True, description="to wait for a server")

    @model_validator(mode="after")
    def _ports_differ(self) -> "Servers":
        if self.mlflow_port == self.prefect_port:
            raise ValueError("servers.mlflow_port and servers.prefect_port must differ")
        return self


class Flow(Group):
    """How the flow treats what may pass by itself, such as a lock or a server that restarts."""

    retries: int = Field(2, ge=0, description="of a step that is not training")
    retry_delay: Seconds = Field("5s", validate_default=True, description="before the first retry")


class Settings(Group):
    """Everything that can be set, in the order of `params.yaml`."""

    seed: int = Field(17, ge=0, lt=2**32, description="of every random number")
    source: Source = Source()
    download: Download = Download()
    quality: Quality = Quality()
    split: Split = Split()
    preprocess: Preprocess = Preprocess()
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    promotion: Promotion = Promotion()
    tracking: Tracking = Tracking()
    lineage: Lineage = Lineage()
    runtime: Runtime = Runtime()
    servers: Servers = Servers()
    flow: Flow = Flow()

    @model_validator(mode="after")
    def _losses_fit(self) -> "Settings":
        check_fit(self.training.losses, self.model.codebook, self.model.network)
        return self
