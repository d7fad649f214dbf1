"""Typed settings, read from `params.yaml`; the only place that knows a default."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from chromaflow import files
from chromaflow.errors import SettingsError
from chromaflow.project import Project

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def _parse_duration(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a duration needs a unit, such as '30s', '5min' or '1h'")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
    if match is None:
        raise ValueError(f"'{value}' is no duration; write it like '30s', '5min' or '1h'")
    number, unit = match.groups()
    if unit not in _SECONDS:
        raise ValueError(f"unknown unit of time '{unit}'; the units are s, min and h")
    return float(number) * _SECONDS[unit]


def _parse_size(value: object) -> object:
    if not isinstance(value, str) or value.strip().isdigit():
        raise ValueError("a size needs a unit, such as '64MiB' or '500kB'")
    try:
        size = ByteSize._validate(value, None)  # type: ignore[arg-type]
    except Exception as error:
        raise ValueError(
            f"'{value}' is no size; write it like '64MiB' or '500kB' (kB, MB, GB, KiB, MiB, GiB)"
        ) from error
    if not size:
        raise ValueError("a size must be above zero")
    # An integer of its own kind is refused where an integer is asked for.
    return int(size)


Seconds = Annotated[float, BeforeValidator(_parse_duration)]
Bytes = Annotated[int, BeforeValidator(_parse_size)]
Share = Annotated[float, Field(ge=0, lt=1)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Group(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), strict=True, allow_inf_nan=False
    )


class Source(_Group):
    """Where the images come from."""

    name: Literal[
        "sample", "folder", "cvcl", "coco", "imagenet", "unsplash", "urls", "huggingface"
    ] = Field(
        "sample",
        description="sample, folder, cvcl, coco, imagenet, unsplash, urls or huggingface; "
        "docs/data.md tells them",
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


class Download(_Group):
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


class Quality(_Group):
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
    max_hue_concentration: float = Field(
        0.995, gt=0, le=1, description="share of the chroma in one hue; above it tinted or sepia"
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


def _parse_part(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, float) or whole) or (isinstance(value, float) and not value < 1):
        raise ValueError("a split's size is a count such as 500 or a share such as 0.1, below 1")
    return value


Part = Annotated[int | float, BeforeValidator(_parse_part), Field(ge=0)]


class Split(_Group):
    """Which image trains and which one judges; near-duplicates always go together."""

    train: Part = Field(0, description="images that train: a count, a share, or 0 for all others")
    validation: Part = Field(0.1, description="held out while training: a count or a share")
    test: Part = Field(0.15, description="held out for evaluation: a count or a share")
    salt: str = Field("chromaflow", description="another text gives another split")
    hints: bool = Field(True, description="follow the splits that the source itself tells")

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "Split":
        if self.validation + self.test >= 1:
            raise ValueError("split.validation and split.test leave nothing to train")
        return self


class Preprocess(_Group):
    """How photographs become Lab shards."""

    size: int = Field(256, ge=32, description="shorter side of a stored image, pixels")
    shard_size: Bytes = Field("16MiB", validate_default=True, description="largest Lab shard")


class Model(_Group):
    """The network and the codebook."""

    network: str = Field("efficientnet_lite0", description="a network of chromaflow.models")
    codebook: str = Field("grid313", description="a codebook of chromaflow.color")
    width: int = Field(128, ge=8, description="channels of the decoder")
    pretrained: bool = Field(True, description="start from the published weights of the encoder")
    temperature: float = Field(
        0.38, gt=0, le=1, description="of the annealed mean; 0.38 as published by Zhang et al. 2016"
    )


class Training(_Group):
    """How the network learns; whatever is here may change the weights."""

    loss: str = Field("cross_entropy", description="a loss of chromaflow.training.losses")
    rebalance: float = Field(
        0.5, ge=0, le=1, description="share of the uniform in the prior; 1 weighs all colors alike"
    )
    steps: int = Field(1000, ge=1, description="optimizer steps")
    batch: int = Field(16, ge=1, description="images a step and device")
    accumulate: int = Field(1, ge=1, description="batches an optimizer step")
    crop: int = Field(128, ge=32, description="side of the random crop, pixels, a multiple of 32")
    zoom: float = Field(
        0.0, ge=0, le=1, description="crops show up to 1 + zoom times more or less; 0 turns it off"
    )
    shear: float = Field(
        0.0, ge=0, le=1, description="most that rows of a crop are moved, sides a side; 0: not"
    )
    shuffle_shards: int = Field(
        0, ge=0, description="Lab shards whose images are mixed; 0 mixes all; for runtime.mirror"
    )
    learning_rate: float = Field(1e-3, gt=0, description="peak of AdamW's one-cycle schedule")
    encoder_rate: float = Field(
        0.3, ge=0, description="the pretrained encoder's learning rate over the decoder's"
    )
    warmup: Share = Field(0.1, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(1e-2, ge=0, description="of AdamW")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
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


class Runtime(_Group):
    """How this machine works; nothing here changes a result, so no stage depends on it."""

    checkpoint_every: Seconds = Field("30s", validate_default=True, description="while training")
    workers: int = Field(0, ge=0, description="processes that read shards while training")
    mirror: str = Field(
        "", description="address of a copy of data/lab with the shards that this disk lacks"
    )
    mirror_cache: Bytes = Field(
        "20GiB", validate_default=True, description="most that is kept of the mirror's shards"
    )
    pictures_every: int = Field(250, ge=1, description="steps between picture grids in MLflow")


class Evaluation(_Group):
    """How the held-out images judge a model."""

    size: int = Field(256, ge=32, description="every image is squeezed to this side, pixels")
    pictures: int = Field(12, ge=0, description="held-out images to show")


class Promotion(_Group):
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


class Tracking(_Group):
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


def _parse_server(value: object) -> object:
    if isinstance(value, str) and value:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of a server begins with http:// or https://")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("an address without password or key; OPENLINEAGE_API_KEY holds a key")
    return value


class Lineage(_Group):
    """Whom to tell, by OpenLineage, where each snapshot came from."""

    url: Annotated[str, BeforeValidator(_parse_server)] = Field(
        "", description="address of a lineage server; empty sends nothing"
    )
    namespace: str = Field("chromaflow", min_length=1, description="of its jobs and data sets")


class Servers(_Group):
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


class Flow(_Group):
    """How the flow treats what may pass by itself, such as a lock or a server that restarts."""

    retries: int = Field(2, ge=0, description="of a step that is not training")
    retry_delay: Seconds = Field("5s", validate_default=True, description="before the first retry")


class Settings(_Group):
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


def _known_keys(location: Sequence[str | int]) -> list[str]:
    group: Any = Settings
    for name in location:
        group = group.model_fields[str(name)].annotation
    return list(group.model_fields)


def _describe(error: Mapping[str, Any]) -> str:
    location = list(error["loc"])
    name = ".".join(str(part) for part in location)
    if error["type"] == "extra_forbidden":
        keys = _known_keys(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), keys, n=3, cutoff=0.5) or keys
        prefix = "".join(f"{part}." for part in location[:-1])
        return f"unknown setting {name}; did you mean {', '.join(prefix + key for key in near)}?"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "model_type":
        return f"{name} = {error['input']!r}: it is a group, and takes settings by name"
    # A rule about several settings names them itself.
    return (
        message if isinstance(error["input"], dict) else f"{name} = {error['input']!r}: {message}"
    )


def _without_secrets(text: str) -> str:
    """A text whose addresses have lost what may be a password or a key."""
    return re.sub(r"(://)[^/@\s]*@|(://[^?#\s]*)[?#][^\s'\"]*", r"\1\2", text)


def _build(values: Mapping[str, Any], origin: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = "\n  ".join(_describe(item) for item in error.errors())
        problem = _without_secrets(f"{origin}:\n  {lines}")
        raise SettingsError(problem, "chromaflow settings shows them all") from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key stands once: of two, the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} stands there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return mapping


def _read_yaml(path: Path) -> dict[str, Any]:
    mend = f"git diff {path.name} shows what changed; chromaflow settings shows every setting"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 (it is safe)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.", mend) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {error}", mend) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise SettingsError(f"{path} must hold settings by name, not a {kind}.", mend)
    # A group without a setting keeps its defaults.
    return {key: {} if value is None else value for key, value in values.items()}


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _is_text(name: str) -> bool:
    group, _, key = name.partition(".")
    fields: Mapping[str, Any] = Settings.model_fields
    if key and group in fields:
        fields = fields[group].annotation.model_fields
    field = fields.get(key or group)
    return field is not None and field.annotation is str


def _parse_override(text: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(
            f"--set {text}: write it as group.name=value", "--set training.steps=500"
        )
    try:
        parsed: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        parsed = value
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    if _is_text(name.strip()) and not quoted:
        # A path may hold what YAML takes for a comment or a number.
        parsed = value
    for part in reversed(name.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def preset_names(project: Project) -> list[str]:
    """Names of the presets in `configs/`."""
    return sorted(path.stem for path in project.configs.glob("*.yaml"))


def load(project: Project, preset: str = "", overrides: Sequence[str] = ()) -> Settings:
    """Settings of `params.yaml`, or of a preset over the defaults, then the overrides.

    Args:
        project: The checkout.
        preset: Name of a file in `configs/`; it starts from the defaults, not from `params.yaml`.
        overrides: Texts `group.name=value`, the value in YAML.

    Raises:
        SettingsError: A file, preset, key, value or unit that is not known, by name.
    """
    if preset:
        path = project.configs / f"{preset}.yaml"
        if preset not in preset_names(project):
            names = preset_names(project)
            near = difflib.get_close_matches(preset, names, n=3, cutoff=0.4) or names
            raise SettingsError(
                f"unknown preset {preset}; did you mean {', '.join(near)}?", f"ls {project.configs}"
            )
    else:
        path = project.params
    origin = str(path.relative_to(project.root)) if path.is_relative_to(project.root) else str(path)
    values = _read_yaml(path)
    _build(values, origin)
    for text in overrides:
        values = _merge(values, _parse_override(text))
    return _build(values, " ".join(f"--set {text}" for text in overrides) or origin)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z][\w./ -]*\w", value, re.ASCII):
        return yaml.safe_dump(value, default_style='"', width=math.inf).strip()
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return text.removesuffix("\n...\n").strip()


def render(settings: Settings) -> str:
    """The text of a `params.yaml` that holds every setting with what it means."""
    lines = [
        "# Every setting of this checkout. Edit the values; the comments are written anew whenever",
        "# `chromaflow retrain` is given a preset or --set.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if not isinstance(value, _Group):
            lines += [f"{name}: {_scalar(value)}  # {field.description}", ""]
            continue
        lines += [f"# {(type(value).__doc__ or '').strip()}", f"{name}:"]
        for key, inner in type(value).model_fields.items():
            text = _write_quantity(getattr(value, key), inner.metadata)
            lines.append(f"  {key}: {text}  # {inner.description}")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _write_quantity(value: Any, metadata: Sequence[Any]) -> str:
    parsers = {item.func for item in metadata if isinstance(item, BeforeValidator)}
    if _parse_duration in parsers:
        return f"{value:f}".rstrip("0").rstrip(".") + "s"
    if _parse_size in parsers:
        for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
            if value % factor == 0:
                return f"{value // factor}{unit}"
        return f"{value}B"
    return _scalar(value)


def changed(old: Settings, new: Settings) -> list[tuple[str, Any, Any]]:
    """Names, old and new values of the settings that differ, in the order of `params.yaml`."""
    rows: list[tuple[str, Any, Any]] = []
    for name in Settings.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if not isinstance(before, _Group):
            rows += [(name, before, after)] if before != after else []
            continue
        for key in type(before).model_fields:
            pair = getattr(before, key), getattr(after, key)
            rows += [(f"{name}.{key}", *pair)] if pair[0] != pair[1] else []
    return rows


def save(project: Project, settings: Settings) -> None:
    """Write `params.yaml`, atomically, so that DVC and the next command see these settings."""
    files.write_text(project.params, render(settings))
