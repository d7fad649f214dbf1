"""Croissant 1.1: the snapshot described for machines, by MLCommons' vocabulary over schema.org."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from chromaflow.data.snapshot.manifest import MEANINGS
from chromaflow.data.snapshot.read import File, Part, Snapshot, counts, photographs, select
from chromaflow.data.sources.origins import ORIGINS
from chromaflow.errors import DataError
from chromaflow.project.packages import is_installed
from chromaflow.project.splits import SPLITS

Node = dict[str, Any]

# The context that the specification of 1.1 recommends, and PROV-O.
_CONTEXT: Node = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
_MEDIA_TYPES = {
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}
_SPLIT_TYPES = {
    "train": "cr:TrainingSplit",
    "validation": "cr:ValidationSplit",
    "test": "cr:TestSplit",
}
# Licenses are free texts; what begins like this is a license that has an address.
_LICENSES = (
    ("CC0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"),
    ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    ("CC-BY-SA-4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    ("public domain", "https://creativecommons.org/publicdomain/mark/1.0/"),
)


def describe(snapshot: Snapshot, folder: Path) -> Node:
    """The JSON-LD of a snapshot; equal snapshots give equal values.

    It holds no date: none is known that would be the same on every machine.

    Args:
        snapshot: What is described.
        folder: Where the file will stand; the addresses of data files are relative to it.
    """
    origins = [ORIGINS[name] for name, _ in counts(snapshot.accepted, "source") if name in ORIGINS]
    creators = [name for origin in origins for name in origin.creators]
    node = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": "chromaflow-" + "-".join(name for name, _ in counts(snapshot.accepted, "source")),
        "description": _summary(snapshot),
        "url": "card.html",
        # Semantic versioning lets a digest stand behind the plus only.
        "version": f"1.0.0+sha256.{snapshot.digest[:16]}",
        "keywords": ["colorization", "photographs", "image"],
        "creator": [{"@type": "sc:Organization", "name": name} for name in creators],
        "license": [_license(name) for name, _ in counts(snapshot.accepted, "license")],
        "citeAs": "\n".join(origin.citation for origin in origins),
        "conditionsOfAccess": "The files are not published. Who holds the repository and its "
        "store of DVC gets them by dvc pull data.dvc, anybody else from the sources by "
        "chromaflow ingest. Every photograph stays under its own license, named in its row.",
        "prov:wasDerivedFrom": [{"@id": origin.url} for origin in origins],
        **_responsibility(snapshot),
        "distribution": list(_distribution(snapshot, folder)),
        "recordSet": [
            _split_records(),
            *(_table_records(name, part) for name, part in snapshot.parts.items()),
            _picture_records(),
        ],
    }
    # A folder of one's own has no published creators and nothing to cite.
    return {name: value for name, value in node.items() if value}


def _summary(snapshot: Snapshot) -> str:
    splits = snapshot.validation.splits
    parts = ", ".join(f"{splits.get(name, 0)} {name}" for name in SPLITS)
    return (
        f"{len(snapshot.accepted)} images from {photographs(snapshot.accepted)} photographs for "
        f"training image colorization ({parts}); {len(snapshot.refused)} were refused. "
        f"SHA-256 of the accepted rows: {snapshot.digest}"
    )


def _license(text: str) -> Node:
    known = next((url for start, url in _LICENSES if text.startswith(start)), "")
    node = {"@type": "sc:CreativeWork", "name": text or "unknown"}
    return node | ({"url": known} if known else {})


def _responsibility(snapshot: Snapshot) -> Node:
    """What is known of the vocabulary of responsible AI; what nobody knows is left out."""
    gathered = [
        f"{count} images: {ORIGINS[name].collection}" if name in ORIGINS else f"{count} from {name}"
        for name, count in counts(snapshot.accepted, "source")
    ]
    refused = ", ".join(f"{n} {rule}" for rule, n in snapshot.validation.reasons.items())
    rules = [rule.name for rule in snapshot.validation.expectations]
    labels = counts(snapshot.accepted, "label")
    few, many = labels[-1], labels[0]
    return {
        "rai:dataCollection": "; ".join(gathered),
        "rai:dataCollectionMissingData": f"{len(snapshot.refused)} of "
        f"{snapshot.validation.rows} images were refused ({refused or 'no reason counted'})",
        "rai:dataPreprocessingProtocol": [
            f"Validated with Great Expectations: {', '.join(rules)}",
            "Near-duplicates and parts of one photograph are always in the same split",
        ],
        "rai:dataBiases": [
            f"{len(labels)} labels; the most common is '{many[0]}' with {many[1]} images, the "
            f"rarest '{few[0]}' with {few[1]}. Grey and nearly grey photographs are refused."
        ],
        "rai:dataLimitations": [
            f"{photographs(select(snapshot.accepted, 'split', 'train'))} photographs train: a "
            "model knows the colors that it has seen"
        ],
        "rai:personalSensitiveInformation": [
            "Nothing here looks for faces, license plates or other personal data, or removes them"
        ],
        "rai:dataUseCases": ["training and evaluating models that color grey photographs"],
    }


def _distribution(snapshot: Snapshot, folder: Path) -> Iterator[Node]:
    for name, part in snapshot.parts.items():
        yield _file(f"{name}-table", part.file, "application/x-parquet", folder)
    for name, shard in snapshot.shards.items():
        yield _file(name, shard, "application/x-tar", folder)
    yield {
        "@type": "cr:FileSet",
        "@id": "pictures-in-shards",
        "description": "every image, beside it <key>.json with what was known at ingest",
        "containedIn": [{"@id": name} for name in snapshot.shards],
        "encodingFormat": sorted(set(_MEDIA_TYPES.values())),
        "includes": [f"*{extension}" for extension in sorted(_MEDIA_TYPES)],
    }


def _file(name: str, file: File, media_type: str, folder: Path) -> Node:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": file.path.name,
        "contentUrl": Path(os.path.relpath(file.path, folder)).as_posix(),
        "contentSize": f"{file.size} B",
        "encodingFormat": media_type,
        "sha256": file.sha256,
    }


def _split_records() -> Node:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "dataType": ["cr:Split", "sc:URL"]},
        ],
        "data": [{"splits/name": name, "splits/url": _SPLIT_TYPES[name]} for name in SPLITS],
    }


def _table_records(name: str, part: Part) -> Node:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "description": part.meaning,
        "key": {"@id": f"{name}/id"},
        "field": [_column(name, field) for field in part.table.schema],
    }


def _column(record_set: str, field: pa.Field) -> Node:
    node: Node = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{field.name}",
        "dataType": _data_type(field),
        "source": {"fileObject": {"@id": f"{record_set}-table"}, "extract": {"column": field.name}},
    }
    if meaning := MEANINGS[field.name]:
        node["description"] = meaning
    if pa.types.is_list(field.type):
        node |= {"isArray": True, "arrayShape": "-1"}
    if field.name == "split":
        node["references"] = {"field": {"@id": "splits/name"}}
    return node


def _data_type(field: pa.Field) -> str | Sequence[str]:
    if field.name == "label":
        return ["sc:Text", "cr:Label"]
    if field.name == "url":
        return "sc:URL"
    kinds = (
        (pa.types.is_boolean, "sc:Boolean"),
        (pa.types.is_integer, "sc:Integer"),
        (pa.types.is_floating, "sc:Float"),
    )
    return next((name for is_kind, name in kinds if is_kind(field.type)), "sc:Text")


def _picture_records() -> Node:
    def source(prop: str) -> Node:
        return {"fileSet": {"@id": "pictures-in-shards"}, "extract": {"fileProperty": prop}}

    return {
        "@type": "cr:RecordSet",
        "@id": "pictures",
        "description": "the pictures in the raw shards, of every table",
        "key": {"@id": "pictures/key"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": "pictures/key",
                "description": "the key of its row",
                "dataType": "sc:Text",
                "source": source("filename") | {"transform": {"regex": "^([^.]+)\\..+$"}},
            },
            {
                "@type": "cr:Field",
                "@id": "pictures/content",
                "description": "the picture",
                "dataType": "sc:ImageObject",
                "source": source("content"),
            },
        ],
    }


def check(path: Path) -> bool:
    """Let mlcroissant validate a file, where it is installed.

    Returns:
        Whether mlcroissant is installed.

    Raises:
        DataError: It is not valid.
    """
    if not is_installed("mlcroissant"):
        return False
    import mlcroissant  # noqa: PLC0415 (a second)

    # It recommends what is left out on purpose, such as a date.
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        mlcroissant.Dataset(jsonld=path)
    except (mlcroissant.ValidationError, ValueError) as error:
        raise DataError(f"{path.name} is not valid Croissant: {error}") from None
    return True
