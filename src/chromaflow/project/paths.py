"""Where everything is in a checkout: the only module that defines paths."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chromaflow.errors import ServerError, UserError


@dataclass(frozen=True)
class Project:
    """The paths of one checkout.

    Args:
        root: The folder that holds `params.yaml` and `dvc.yaml`.
    """

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """Find the checkout that holds the current folder.

        Raises:
            UserError: No folder from here upwards holds `params.yaml` and `dvc.yaml`.
        """
        try:
            start = (start or Path.cwd()).resolve()
        except FileNotFoundError:
            raise UserError("The current folder was deleted.", "cd into your clone") from None
        for folder in (start, *start.parents):
            if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
                return cls(folder)
            if (folder / "dvc.yaml").is_file() and (folder / "configs").is_dir():
                raise UserError(
                    f"{folder / 'params.yaml'} is missing.", f"git -C {folder} checkout params.yaml"
                )
        raise UserError(
            f"{start} is not in a chromaflow checkout: no dvc.yaml with a params.yaml next to it.",
            "cd into your clone of chromaflow and run the command again",
        )

    @contextlib.contextmanager
    def lock(self, work: str, *, wait: bool = False) -> Iterator[None]:
        """Let one process at a time do some work in this checkout; a killed one releases the lock.

        Args:
            work: Its name.
            wait: Wait for another process that is at it, rather than give up.

        Raises:
            ServerError: Another process is at it, or `.chromaflow` cannot be written.
        """
        path = self.state / f"{work}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        except OSError as error:
            raise ServerError(
                f"{path} cannot be written: {error.strerror}.",
                f"make {self.state} a writable folder",
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise ServerError(
                    f"another {work} is running in {self.root}.", "wait until it has ended"
                ) from None
            yield

    def locate(self, text: str) -> Path:
        """The path that a setting names: absolute, below `~`, or relative to the checkout."""
        return self.root / os.path.expanduser(text)  # noqa: PTH111  # pathlib's raises for ~nobody

    @property
    def params(self) -> Path:
        """The settings of this checkout."""
        return self.root / "params.yaml"

    @property
    def configs(self) -> Path:
        """The presets."""
        return self.root / "configs"

    @property
    def recipes(self) -> Path:
        """Recipes, one file a published system."""
        return self.configs / "recipes"

    @property
    def pipeline(self) -> Path:
        """The stages of DVC."""
        return self.root / "dvc.yaml"

    @property
    def pipeline_lock(self) -> Path:
        """What DVC recorded of each stage when it ran last."""
        return self.root / "dvc.lock"

    @property
    def retrain_flow(self) -> Path:
        """The program of the Prefect flow that runs every step."""
        return self.root / "flows" / "retrain.py"

    @property
    def raw(self) -> Path:
        """The raw snapshot: `<source>/*.tar` and `manifest.parquet`."""
        return self.root / "data" / "raw"

    @property
    def raw_manifest(self) -> Path:
        """The table of the raw snapshot: one row an image."""
        return self.raw / "manifest.parquet"

    @property
    def raw_record(self) -> Path:
        """The DVC record of the raw snapshot."""
        return self.root / "data.dvc"

    @property
    def validated(self) -> Path:
        """`manifest.parquet` with splits, `quarantine.parquet`, `validation.json` and the rest."""
        return self.root / "data" / "validated"

    @property
    def accepted_manifest(self) -> Path:
        """The table of the accepted images, with their splits."""
        return self.validated / "manifest.parquet"

    @property
    def validation_report(self) -> Path:
        """What the last validation counted."""
        return self.validated / "validation.json"

    @property
    def lab(self) -> Path:
        """One folder of Lab shards a split, and `statistics.json`."""
        return self.root / "data" / "lab"

    @property
    def candidate(self) -> Path:
        """The model folder that training writes: `model.json`, `weights.safetensors`."""
        return self.root / "models" / "candidate"

    @property
    def training_report(self) -> Path:
        """`curves.csv` and `summary.json` of the training."""
        return self.root / "reports" / "training"

    @property
    def evaluation(self) -> Path:
        """`metrics.json`, `per_image.csv` and `pictures/` of the evaluation."""
        return self.root / "reports" / "evaluation"

    @property
    def data_docs(self) -> Path:
        """The Data Docs of Great Expectations, a static site."""
        return self.root / "reports" / "data-docs"

    @property
    def data_description(self) -> Path:
        """`card.html`, `card.md` and `croissant.json` of the accepted snapshot."""
        return self.root / "reports" / "data"

    @property
    def contact_sheets(self) -> Path:
        """Pictures of some accepted and some refused images, a static site."""
        return self.root / "reports" / "contact-sheets"

    @property
    def waivers(self) -> Path:
        """Decisions of people that an image may train although a rule refused it."""
        return self.root / "releases.yaml"

    @property
    def sanity_pictures(self) -> Path:
        """What recipes made of eight photographs, one picture a recipe."""
        return self.root / "reports" / "sanity"

    @property
    def rate_curves(self) -> Path:
        """Losses over rising learning rates, one curve a recipe."""
        return self.root / "reports" / "find-lr"

    @property
    def quarantine_sheets(self) -> Path:
        """Pages of the images in quarantine."""
        return self.root / "reports" / "quarantine"

    @property
    def comparison(self) -> Path:
        """The page that compares recipes."""
        return self.root / "reports" / "compare"

    @property
    def quality_record(self) -> Path:
        """How the chroma of the last accepted snapshot was distributed."""
        return self.root / "reports" / "validation" / "quality.json"

    @property
    def page(self) -> Path:
        """The report of the last run, one HTML file."""
        return self.root / "reports" / "index.html"

    @property
    def requirements_lock(self) -> Path:
        """The pinned environment."""
        return self.root / "requirements.lock"

    @property
    def state(self) -> Path:
        """What belongs to this machine alone: checkpoints, local servers and their databases."""
        return self.root / ".chromaflow"

    @property
    def checkpoints(self) -> Path:
        """Unfinished trainings, one folder a fingerprint."""
        return self.state / "training"

    @property
    def ledger(self) -> Path:
        """The decisions of promotion, one JSON line each, chained by hash."""
        return self.state / "ledger.jsonl"

    @property
    def champions(self) -> Path:
        """Verified copies of the champions' model folders, one folder a digest."""
        return self.state / "champions"

    def trial(self, name: str) -> "Project":
        """The same checkout for a trial, whose model and reports lie apart from the candidate's.

        Args:
            name: Of the trial, a file name.
        """
        return self.relocated(self.state / "trials" / name)

    def relocated(self, folder: Path) -> "Project":
        """The same checkout, whose model, its reports and checkpoints lie in another folder."""
        return _Trial(self.root, folder)


@dataclass(frozen=True)
class _Trial(Project):
    folder: Path

    @property
    def candidate(self) -> Path:
        return self.folder / "model"

    @property
    def training_report(self) -> Path:
        return self.folder / "training"

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"
