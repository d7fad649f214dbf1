"""All settings by group; defaults are defined in this package and nowhere else."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

from chromaflow.metrics.catalog import deciding
from chromaflow.settings.base import Group
from chromaflow.settings.compatibility import check_fit
from chromaflow.settings.data import DownloadSettings, Preprocess, Quality, Split
from chromaflow.settings.quantities import Bytes, Port, Seconds, Server
from chromaflow.settings.sources import AnySource, SampleSource
from chromaflow.settings.system import Model, Training


class Runtime(Group):
    """How this machine works; nothing here changes a result, so no stage depends on it."""

    checkpoint_every: Seconds = Field(
        "30s", validate_default=True, description="time between checkpoints while training"
    )
    processes: int = Field(0, ge=0, description="for preprocessing; 0: one per core")
    workers: int = Field(0, ge=0, description="processes that read shards while training")
    mirror: str = Field(
        "", description="address of a copy of data/lab with the shards missing on this disk"
    )
    mirror_cache: Bytes = Field(
        "20GiB",
        validate_default=True,
        description="largest size of the cache of the mirror's shards",
    )
    pictures_every: int = Field(250, ge=1, description="steps between picture grids in MLflow")


class Evaluation(Group):
    """How a model is evaluated on the held-out images."""

    size: int = Field(
        256, ge=32, description="every image is resized to a square of this side, pixels"
    )
    pictures: int = Field(12, ge=0, description="held-out images to show")


def _check_deciding(name: str) -> str:
    if name not in deciding():
        # As of a Literal, so that the near names are offered.
        expected = ", ".join(f"'{known}'" for known in deciding())
        raise PydanticKnownError("literal_error", {"expected": expected})
    return name


class Promotion(Group):
    """When a model replaces the champion."""

    metric: Annotated[str, AfterValidator(_check_deciding)] = Field(
        "auc_rebalanced", description="compared by a paired bootstrap over the held-out images"
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="share of the resamples in which the gain must be positive",
    )
    resamples: int = Field(10_000, ge=100, description="number, of the bootstrap")


class Tracking(Group):
    """Where experiments and models are recorded."""

    uri: str = Field("", description="address of MLflow; empty: sqlite in .chromaflow")
    experiment: str = Field("chromaflow", description="name of the MLflow experiment")
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


class LineageSettings(Group):
    """Where to send OpenLineage events about each snapshot."""

    url: Server = Field("", description="address of a lineage server; empty sends nothing")
    namespace: str = Field("chromaflow", min_length=1, description="of its jobs and data sets")


class Servers(Group):
    """The local servers of `chromaflow up`."""

    host: str = Field("127.0.0.1", description="address to bind; any but loopback is public")
    mlflow_port: Port = Field(5000, description="of MLflow")
    prefect_port: Port = Field(4200, description="of Prefect")
    start_timeout: Seconds = Field(
        "90s", validate_default=True, description="longest wait for a server to start"
    )

    @model_validator(mode="after")
    def _ports_differ(self) -> "Servers":
        if self.mlflow_port == self.prefect_port:
            raise ValueError("servers.mlflow_port and servers.prefect_port must differ")
        return self


class Flow(Group):
    """How the flow retries after temporary failures, such as a lock or a server that restarts."""

    retries: int = Field(2, ge=0, description="of each step except training")
    retry_delay: Seconds = Field("5s", validate_default=True, description="before the first retry")


class Settings(Group):
    """Everything that can be set, in the order of `params.yaml`."""

    seed: int = Field(17, ge=0, lt=2**32, description="of all random number generators")
    source: AnySource = SampleSource()
    download: DownloadSettings = DownloadSettings()
    quality: Quality = Quality()
    split: Split = Split()
    preprocess: Preprocess = Preprocess()
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    promotion: Promotion = Promotion()
    tracking: Tracking = Tracking()
    lineage: LineageSettings = LineageSettings()
    runtime: Runtime = Runtime()
    servers: Servers = Servers()
    flow: Flow = Flow()

    @model_validator(mode="after")
    def _losses_fit(self) -> "Settings":
        check_fit(self.training.losses.named(), self.model.codebook.name, self.model.network.name)
        return self
