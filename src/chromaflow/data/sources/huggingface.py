"""A data set of the Hugging Face hub with a column of images, through its Parquet files.

Of a file only what is needed comes over the network: its index, the labels, and those groups of
rows that hold images to be taken. Nothing is stored but what enters the snapshot.
"""

import contextlib
import json
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chromaflow.data.sources.base import Opener, Record, UnreadableError, hash_rank
from chromaflow.data.sources.categories import choose
from chromaflow.errors import DataError, ServerError, UserError
from chromaflow.project.paths import Project
from chromaflow.project.splits import SPLITS
from chromaflow.settings import DownloadSettings
from chromaflow.settings.sources import HubSource

_REMEDY = "chromaflow ingest --set source.name=huggingface --set source.repository=OWNER/NAME"
_INDEX_BLOCK = 2**16
_DATA_BLOCK = 4 * 2**20
_BATCH = 16


class Hub:
    """One commit of one data set, and its Parquet files.

    Args:
        repository: `OWNER/NAME`.
        revision: A branch, tag or commit.
        address: Of the hub; empty means the public one.
        remedy: The command that fixes what cannot be read.

    Raises:
        DataError: The data set or the revision does not exist, or may not be read with this token.
        ServerError: The hub does not answer.
    """

    def __init__(self, repository: str, revision: str, address: str, remedy: str) -> None:
        from huggingface_hub import HfApi, HfFileSystem  # noqa: PLC0415  # slow to load

        self.repository = repository
        self._remedy = remedy
        endpoint = address.rstrip("/") or None
        with self.explain_errors():
            api = HfApi(endpoint=endpoint)
            info = api.dataset_info(repository, revision=revision, files_metadata=True)
        self.commit = str(info.sha)
        card: Any = info.card_data or {}
        self.license = str(card.get("license_name") or card.get("license") or "")
        self._blobs = {
            file.rfilename: (file.lfs.sha256 if file.lfs else file.blob_id) or self.commit
            for file in info.siblings or []
            if file.rfilename.endswith(".parquet")
        }
        self._files = HfFileSystem(endpoint=endpoint, skip_instance_cache=True)

    @contextlib.contextmanager
    def explain_errors(self) -> Iterator[None]:
        """Turn what the hub's library raises into an error of ours, without any token."""
        from huggingface_hub import errors  # noqa: PLC0415

        name = f"the data set {self.repository}"
        try:
            yield
        except errors.GatedRepoError:
            raise DataError(
                f"{name} may not be read with this token, or without one.", self._remedy
            ) from None
        except errors.HFValidationError:
            raise DataError(
                f"{name}: its name is invalid; write OWNER/NAME.", self._remedy
            ) from None
        except errors.RevisionNotFoundError:
            raise DataError(f"{name} has no such source.revision.", self._remedy) from None
        except (errors.RepositoryNotFoundError, FileNotFoundError):
            raise DataError(
                f"{name} does not exist, or may not be read with this token.", self._remedy
            ) from None
        except errors.HfHubHTTPError as error:
            raise _refused(name, error, self._remedy) from None
        except (errors.HTTPError, ConnectionError, TimeoutError):  # type: ignore[attr-defined]
            raise ServerError(
                f"{name}: the hub does not answer.", "run the command again: it resumes"
            ) from None

    def parquet(self, subset: str) -> list[str]:
        """The Parquet files of a subset, such as `train`.

        Raises:
            DataError: There is none.
        """
        pattern = rf"(?:^|/){re.escape(subset)}(?:[-_./]|\d)"
        found = sorted(name for name in self._blobs if re.search(pattern, name))
        if not found:
            there = ", ".join(sorted(self._blobs)[:5]) or "none"
            raise DataError(
                f"the data set {self.repository} has no Parquet files of {subset}; it has {there}.",
                "--set source.subset=SUBSET, or --set source.revision=refs/convert/parquet, where "
                "the hub keeps Parquet files of most public sets",
            )
        return found

    def url(self, name: str, row: int) -> str:
        """The identity of an image.

        It holds a digest of the file, so another content is another image, and a commit that leaves
        the file as it is changes nothing.
        """
        return f"huggingface:{self.repository}/{name}@{self._blobs[name][:16]}/{row}"

    def open(self, name: str, block: int) -> pq.ParquetFile:
        """Open a Parquet file; its bytes come in blocks when they are read."""
        path = f"datasets/{self.repository}@{self.commit}/{name}"
        return pq.ParquetFile(self._files.open(path, "rb", block_size=block))


def _refused(name: str, error: Any, remedy: str) -> UserError:
    status = error.response.status_code if error.response is not None else 0
    if status in (401, 403):
        return DataError(f"{name} may not be read with this token.", remedy)
    return ServerError(f"{name}: the hub answers {status}.", "run the command again: it resumes")


@dataclass(frozen=True)
class Group:
    """The images to take of one group of rows: where they lie, and their labels by number."""

    file: str
    group: int
    first: int
    rows: Sequence[int]
    labels: Sequence[int | str]


class HuggingFace:
    """Images of a data set; see `chromaflow.data.sources.base.Source`.

    With `source.images` the groups of rows are taken in the order of their ranks until there are
    enough: one by one the images would lie in all groups, and all of them would have to be fetched.

    Raises:
        DataError: The data set, the subset or the columns are not there, or may not be read.
        ServerError: The hub does not answer.
    """

    skipped = 0
    remedy = _REMEDY

    def __init__(self, _project: Project, source: HubSource, _download: DownloadSettings) -> None:
        self._source = source
        if not source.repository:
            raise DataError(
                "source.name = huggingface, but source.repository names no data set.", _REMEDY
            )
        self._open(source.repository, source.revision)

    def _open(self, repository: str, revision: str) -> None:
        source = self._source
        self._hub = Hub(repository, revision, source.address, self.remedy)
        self._subset = source.subset or "train"
        self._license = self._hub.license or source.license
        self._label = source.label_column
        self._names: list[str] = []
        self._rows = _Rows(self._hub, source.image_column)
        self._groups = self._draw(self._index())
        self.total = sum(len(group.rows) for group in self._groups)
        if not self.total:
            raise DataError(
                f"{repository} holds no image that matches source.categories.", self.remedy
            )

    def _index(self) -> list[tuple[str, int, int, int]]:
        """File, number, first row and length of every group of rows."""
        index = []
        for name in self._hub.parquet(self._subset):
            with self._parquet(name) as file:
                first = 0
                for group in range(file.num_row_groups):
                    length = file.metadata.row_group(group).num_rows
                    index.append((name, group, first, length))
                    first += length
        return index

    @contextlib.contextmanager
    def _parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        try:
            with self._hub.explain_errors(), self._hub.open(name, _INDEX_BLOCK) as file:
                self._check(file, name)
                yield file
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{name} of {self._hub.repository} is broken: {error}", self.remedy
            ) from None

    def _check(self, file: pq.ParquetFile, name: str) -> None:
        header = file.schema_arrow.names
        for setting in ("image_column", "label_column"):
            column = getattr(self._source, setting)
            if column and column not in header:
                raise DataError(
                    f"{name} has no column {column}, as source.{setting} says; it has "
                    f"{', '.join(header)[:200]}.",
                    f"--set source.{setting}=COLUMN" + ('""' if setting == "label_column" else ""),
                )
        self._names = self._names or _class_names(file, self._label)

    def _draw(self, index: list[tuple[str, int, int, int]]) -> list[Group]:
        """The groups to read, in the order of the files."""
        wanted = self._source.images
        order = sorted(
            index, key=lambda group: hash_rank(self._source.salt, f"{group[0]}/{group[1]}")
        )
        found: list[Group] = []
        taken = 0
        names = self._choose()
        with contextlib.ExitStack() as stack:
            opened: dict[str, pq.ParquetFile] = {}
            for name, group, first, length in order if wanted else index:
                if wanted and taken >= wanted:
                    break
                if name not in opened and self._label:
                    opened[name] = stack.enter_context(self._parquet(name))
                labels = self._labels(opened.get(name), group, length)
                rows = [row for row in range(length) if names is None or labels[row] in names]
                rows = rows[: wanted - taken] if wanted else rows
                taken += len(rows)
                if rows:
                    found.append(_group(name, group, first, rows, labels))
        return sorted(found, key=lambda item: (item.file, item.group))

    def _choose(self) -> set[Any] | None:
        """The labels to take, as the files write them; None takes all."""
        if not self._source.categories:
            return None
        if not self._names:
            return set(self._source.categories)
        chosen = choose(self._source.categories, set(self._names), self._hub.repository)
        return {number for number, name in enumerate(self._names) if name in chosen}

    def _labels(self, file: pq.ParquetFile | None, group: int, length: int) -> Sequence[int | str]:
        if file is None:
            return [""] * length
        values = file.read_row_group(group, columns=[self._label])[self._label].to_pylist()
        return [value if isinstance(value, int | str) else "" for value in values]

    def _name(self, label: int | str) -> str:
        if isinstance(label, int) and self._names:
            return self._names[label] if 0 <= label < len(self._names) else ""
        return str(label)

    def records(self) -> Iterator[Record]:
        """The images, file after file."""
        for group in self._groups:
            for row, label in zip(group.rows, group.labels, strict=True):
                yield Record(
                    url=self._hub.url(group.file, group.first + row),
                    label=self._name(label),
                    license=self._license,
                    extension=self._extension,
                    read=partial(self._rows.read, group.file, group.group, row),
                    split=self._split,
                    fixed=True,
                )

    @property
    def _extension(self) -> str:
        return ".jpg"

    @property
    def _split(self) -> str:
        """What the set itself says of its images: its test images never train."""
        part = PurePosixPath(self._subset).name
        return part if part in SPLITS and part != "train" else ""


SOURCE: Opener = HuggingFace


def _group(
    name: str, group: int, first: int, rows: list[int], labels: Sequence[int | str]
) -> Group:
    chosen = [labels[row] for row in rows]
    numbers = [label for label in chosen if isinstance(label, int)]
    compact = array("q", numbers) if len(numbers) == len(chosen) else chosen
    return Group(name, group, first, array("L", rows), compact)


def _class_names(file: pq.ParquetFile, column: str) -> list[str]:
    """What the numbers of a column of labels mean, as the file itself says."""
    described = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = json.loads(described)["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


class _Rows:
    """Reads images in their order, a few rows in memory at a time.

    Args:
        hub: Where the files are.
        column: Of the images: bytes, or a structure that holds `bytes`.
    """

    def __init__(self, hub: Hub, column: str) -> None:
        self._hub = hub
        self._column = column
        self._place: tuple[str, int] = ("", -1)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._start = self._stop = 0
        self._batch: pa.RecordBatch | None = None

    def read(self, name: str, group: int, row: int) -> bytes:
        """The bytes of one image.

        Raises:
            UnreadableError: The row holds none, or the file is broken.
            ServerError: The hub does not answer.
        """
        try:
            with self._hub.explain_errors():
                self._seek(name, group, row)
        except (pa.ArrowException, OSError) as error:
            raise UnreadableError(f"its Parquet file is broken: {error}") from None
        value = self._batch.column(0)[row - self._start].as_py() if self._batch else None
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise UnreadableError("the row holds no bytes of an image")
        return data

    def _seek(self, name: str, group: int, row: int) -> None:
        if (name, group) != self._place or row < self._start:
            self._place = ("", -1)
            file = self._hub.open(name, _DATA_BLOCK)
            self._batches = file.iter_batches(_BATCH, row_groups=[group], columns=[self._column])
            self._place, self._start, self._stop = (name, group), 0, 0
        while row >= self._stop:
            self._batch = next(self._batches, None)
            if self._batch is None:
                raise UnreadableError("its Parquet file ends early")
            self._start, self._stop = self._stop, self._stop + len(self._batch)
