"""Settings of the data: how it is fetched, what is accepted, how it is split and stored."""

from pydantic import Field, model_validator

from chromaflow.settings.base import Group
from chromaflow.settings.quantities import Bytes, Part, Seconds


class DownloadSettings(Group):
    """How files are downloaded; nothing here changes their bytes, so no stage depends on it."""

    connections: int = Field(32, ge=1, le=256, description="simultaneous, over all hosts")
    connections_per_host: int = Field(8, ge=1, le=64, description="simultaneous, to one host")
    host_delay: Seconds = Field(
        "0s", validate_default=True, description="between the starts of two requests to one host"
    )
    contact: str = Field("", description="mail address or page sent in the User-Agent")
    retries: int = Field(4, ge=0, description="of a file, after temporary errors")
    retry_delay: Seconds = Field(
        "0.5s", validate_default=True, description="before the first retry; doubles, with jitter"
    )
    longest_wait: Seconds = Field(
        "2min", validate_default=True, description="longest wait that a server may request"
    )
    connect_timeout: Seconds = Field("15s", validate_default=True, description="to reach a host")
    stall_timeout: Seconds = Field(
        "60s", validate_default=True, description="below 1 kB/s before a retry"
    )
    largest_file: Bytes = Field(
        "256MiB", validate_default=True, description="larger files are refused"
    )
    typical_file: Bytes = Field(
        "256KiB", validate_default=True, description="assumed where a size is unknown"
    )
    reserve: Bytes = Field("2GiB", validate_default=True, description="disk space to keep free")
    proxy: str = Field("", description="http://HOST:PORT; empty: HTTPS_PROXY and HTTP_PROXY")
    mirrors: dict[str, str] = Field({}, description="prefix of an address: its replacement")


class Quality(Group):
    """What an image must satisfy to be accepted; others go to quarantine with their reasons."""

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
        description="share of the chroma that lightness does not explain; below it tinted or sepia",
    )
    min_luma_spread: float = Field(
        2.0, ge=0, description="standard deviation of L*, 0 to 100; below it an image is blank"
    )
    licenses: list[str] = Field(
        [], description="allowed names or patterns such as CC*; empty: any that is stated"
    )
    labels: list[str] = Field([], description="allowed names or patterns; empty: any")
    duplicate_distance: int = Field(
        4,
        ge=0,
        le=16,
        description="largest difference of near-duplicates' perceptual hashes, bits of 64",
    )
    min_images: int = Field(8, ge=1, description="fewest accepted images in the snapshot")
    min_label_images: int = Field(1, ge=1, description="fewest accepted images of each label")
    max_label_share: float = Field(
        1.0, gt=0, le=1, description="largest share of the accepted images under one label"
    )
    max_drift: float = Field(
        0.25,
        ge=0,
        description="largest population stability index of mean chroma against the last accepted "
        "snapshot; 0: not checked",
    )


class Split(Group):
    """Which images train, validate and test; near-duplicates always go into the same split."""

    train: Part = Field(0, description="training images: a count, a share, or 0 for all others")
    validation: Part = Field(
        0.1, description="held out for validation during training: a count or a share"
    )
    test: Part = Field(0.15, description="held out for evaluation: a count or a share")
    salt: str = Field("chromaflow", description="a different text gives a different split")
    hints: bool = Field(True, description="follow the splits that the source itself defines")

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "Split":
        if self.train >= 1 and self.test < 1:
            return self  # All others test, and validation is a share of those.
        parts = (self.train, self.validation, self.test)
        shares = sum(part for part in parts if part < 1)
        if shares >= 1 and not self.train:
            raise ValueError("split.validation and split.test leave no image to train on")
        if shares > 1 + 1e-9:
            raise ValueError("split.train, split.validation and split.test add up to more than 1")
        return self


class Preprocess(Group):
    """How photographs become Lab shards."""

    size: int = Field(256, ge=32, description="shorter side of a stored image, pixels")
    shard_size: Bytes = Field("16MiB", validate_default=True, description="largest Lab shard")
