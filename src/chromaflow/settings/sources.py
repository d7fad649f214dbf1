"""Settings of the sources of images, one kind a source.

A new source is a module `chromaflow.data.sources.<name>`, which offers it as `SOURCE`, and here a
kind of that name with the settings that only it has, which joins `AnySource`. docs/data.md shows
one.
"""

from typing import Annotated, Literal, get_args

from pydantic import Field

from chromaflow.settings.base import Kind, kinds_of, one_of

MAX_PIXELS = 100_000_000
"""Default for the number of pixels above which a picture is refused as a decompression bomb."""


class SourceSettings(Kind):
    """Where the images come from: what every source takes."""

    images: int = Field(
        0, ge=0, description="sample size, drawn by a hash of their URLs; 0 takes all"
    )
    salt: str = Field("chromaflow", description="a different text draws different images")
    historic: str = Field("", description="folder of grey photographs to color for inspection only")
    license: str = Field("unknown", description="where the source itself states none")
    shard_images: int = Field(256, ge=1, description="images in one raw shard, at most")
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, description="a larger picture is refused as a decompression bomb"
    )


class SampleSource(SourceSettings):
    """Where the images come from: tiles of the photographs in scikit-image's package."""

    name: Literal["sample"] = "sample"
    tile: int = Field(128, ge=32, description="side of a tile, pixels")


class FolderSource(SourceSettings):
    """Where the images come from: a folder of your own photographs."""

    name: Literal["folder"] = "folder"
    folder: str = Field("", description="the folder")


class PublishedSource(SourceSettings):
    """A data set fetched from its publisher, or on disk in the published layout."""

    archive: str = Field(
        "",
        description="local archive, or folder in the published layout; empty downloads it",
    )
    address: str = Field("", description="fetch from here, such as a mirror; empty: the publisher")


class CvclSource(PublishedSource):
    """Where the images come from: the urban and natural scene categories of MIT's CVCL."""

    name: Literal["cvcl"] = "cvcl"
    categories: list[str] = Field([], description="the labels to take; empty takes all")


class CocoSource(PublishedSource):
    """Where the images come from: COCO, common objects in context."""

    name: Literal["coco"] = "coco"
    annotations: str = Field(
        "", description="local annotations, JSON or their zip archive; empty downloads them"
    )
    subset: str = Field("", description="train2017 or val2017; empty: the training images")
    categories: list[str] = Field([], description="the labels to take; empty takes all")


class UnsplashSource(PublishedSource):
    """Where the images come from: the open Lite set of Unsplash."""

    name: Literal["unsplash"] = "unsplash"
    width: int = Field(0, ge=0, description="width to download, pixels; 0: original size")


class UrlsSource(SourceSettings):
    """Where the images come from: a table of addresses."""

    name: Literal["urls"] = "urls"
    table: str = Field("", description="the CSV, TSV or Parquet file of addresses")


class HubSource(SourceSettings):
    """Settings of a data set on the Hugging Face hub."""

    repository: str = Field("", description="the data set, OWNER/NAME")
    revision: str = Field("main", description="branch, tag or commit")
    image_column: str = Field("image", description="the column of images")
    label_column: str = Field("label", description="the column of labels; empty: none")
    address: str = Field("", description="fetch from here, such as a mirror; empty: the publisher")
    subset: str = Field("", description="train, validation or test; empty: the training images")
    categories: list[str] = Field([], description="the labels to take; empty takes all")


class HuggingFaceSource(HubSource):
    """Where the images come from: a data set on the Hugging Face hub."""

    name: Literal["huggingface"] = "huggingface"


class ImageNetSource(HubSource):
    """Where the images come from: ImageNet, on the hub or on disk."""

    name: Literal["imagenet"] = "imagenet"
    repository: str = Field("", description="on the hub, OWNER/NAME; empty: ILSVRC/imagenet-1k")
    archive: str = Field("", description="local folders or tar archive; empty downloads it")
    categories: list[str] = Field(
        [],
        description="labels to take, also WordNet ids or names of broader terms; empty takes all",
    )


AnySource = Annotated[
    SampleSource
    | FolderSource
    | CvclSource
    | CocoSource
    | ImageNetSource
    | UnsplashSource
    | UrlsSource
    | HuggingFaceSource,
    Field(discriminator="name"),
    one_of("sample"),
]
"""One of the sources."""

SOURCES = tuple(kinds_of(get_args(AnySource)[0]))
"""Their names."""
