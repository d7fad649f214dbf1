"""Settings of the data: how it is fetched, what may pass, how it is split and stored."""

from pydantic import Field, model_validator

from chromaflow.settings.base import Group
from chromaflow.settings.quantities import Bytes, Part, Seconds


class DownloadSettings(Group):
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
