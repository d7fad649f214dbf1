"""A Lightning logger that sends metrics to MLflow in batches, in the background.

Lightning's own MLflow logger makes a call a metric and reads the address of the server when it is
imported; a server that is slow or away for a while would hold the training up.
"""

import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mlflow.client import MlflowClient
from mlflow.entities import Metric
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from chromaflow.errors import ChromaflowWarning
from chromaflow.tracking.client import first_line

_SECONDS_BETWEEN = 15.0
_LARGEST_BATCH = 1000  # MLflow refuses more.


class MetricLogger(Logger):
    """Keeps metrics and sends them every few seconds from a thread of its own.

    Args:
        client: Of MLflow.
        run_id: The run that the metrics belong to.
        logged: The last step of each metric that the run holds already, so that a training that
            resumes from a checkpoint repeats none.
    """

    def __init__(self, client: MlflowClient, run_id: str, logged: Mapping[str, int]) -> None:
        super().__init__()
        self._client, self._run_id, self._logged = client, run_id, dict(logged)
        self._waiting: list[Metric] = []
        self._sent_at = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
        self._sending: Future[None] | None = None
        self._failure: Exception | None = None

    @property
    def name(self) -> str:
        """Of the logger, in Lightning's folders."""
        return "mlflow"

    @property
    def version(self) -> str:
        """The run id."""
        return self._run_id

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the settings are logged when the run opens."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take the metrics of a step; they are sent within seconds."""
        now, number = int(time.time() * 1000), step or 0
        self._waiting += [
            Metric(name, float(value), now, number)
            for name, value in metrics.items()
            if number > self._logged.get(name, -1)
        ]
        if time.monotonic() - self._sent_at >= _SECONDS_BETWEEN:
            self._send_in_background()

    def do(self, work: Callable[[], object]) -> None:
        """Run something else that may take a while, such as an upload, in the same thread."""
        self._thread.submit(self._guarded, work)

    def _guarded(self, work: Callable[[], object]) -> None:
        # A lost record must not end a training.
        try:
            work()
        except Exception as error:
            self._failure = error

    def _send_in_background(self) -> None:
        if self._sending is not None and not self._sending.done():
            return
        self._sent_at = time.monotonic()
        self._sending = self._thread.submit(self._guarded, self._send)

    def _send(self) -> None:
        while batch := self._waiting[:_LARGEST_BATCH]:
            self._client.log_batch(self._run_id, metrics=batch)
            # Only now: what could not be sent waits for the next time.
            del self._waiting[: len(batch)]
            self._failure = None

    def close(self) -> None:
        """Send what waits, end the thread, and warn of what MLflow did not take."""
        self._thread.submit(self._guarded, self._send)
        self._thread.shutdown(wait=True)
        if self._failure is not None:
            text = first_line(self._failure)
            message = f"MLflow did not take all of this training's records: {text}"
            warnings.warn(message, ChromaflowWarning, stacklevel=2)
