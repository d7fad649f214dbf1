"""A server on loopback that gives photographs in the layout of each host that sets come from."""

import hashlib
import io
import json
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Host:
    """A running server.

    `files` by path, `asked` counts the requests, `tokens` holds what they bore. Files whose path
    holds a text of `gated` are given only to requests that bear one of `welcome`.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.gated: set[str] = set()
        self.welcome: set[str] = set()
        self.down = False
        self.asked: Counter[str] = Counter()
        self.sent = 0
        self.tokens: set[str | None] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def images_asked(self) -> list[str]:
        return sorted(path for path in self.asked if path.endswith(".jpg"))

    def _handler(host) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the request
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                host.asked[self.path] += 1
                host.tokens.add(self.headers.get("Authorization"))
                if host.down:
                    return self._send(503, b"", {})
                refused = self.headers.get("Authorization") not in host.welcome
                if refused and "/resolve/" in path and any(name in path for name in host.gated):
                    return self._send(403, b"gated", {"X-Error-Code": "GatedRepo"})
                if "/resolve/" in path and not path.startswith("/store/"):
                    # The real hub sends to where the files are.
                    return self._send(302, b"", {"Location": f"{host.address}/store{path}"})
                path = path.removeprefix("/store")
                content = host.files.get(path)
                if content is None:
                    code = {"X-Error-Code": "RepoNotFound"} if "/api/" in path else {}
                    return self._send(404, b"{}", code)
                wanted = self.headers.get("Range", "")
                if wanted.startswith("bytes="):
                    first, _, last = wanted.removeprefix("bytes=").partition("-")
                    end = min(int(last or len(content)), len(content) - 1)
                    told = {"Content-Range": f"bytes {first}-{end}/{len(content)}"}
                    return self._send(206, content[int(first) : end + 1], told)
                return self._send(200, content, {})

            do_HEAD = do_GET  # noqa: N815

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                kind = "application/json" if "/api/" in self.path else "application/octet-stream"
                headers = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)
                    host.sent += len(body)

        return Handler


def cvcl(host: Host, archive: bytes) -> str:
    """The address of CVCL's archive."""
    path = "/torralba/code/spatialenvelope/spatial_envelope_256x256_static_8outdoorcategories.zip"
    host.files[path] = archive
    return host.address + path


def coco_annotations(images: int) -> dict[str, Any]:
    """Annotations like those of COCO 2017: three objects in each photograph but every tenth."""
    return {
        "info": {"description": "COCO 2017 Dataset"},
        "licenses": [
            {
                "id": 1,
                "name": "Attribution License",
                "url": "http://creativecommons.org/licenses/by/2.0/",
            },
            {"id": 4, "name": "No known restrictions", "url": ""},
        ],
        "images": [
            {
                "license": 1 if number % 2 else 4,
                "file_name": f"{number:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{number:012d}.jpg",
                "height": 72,
                "width": 72,
                "id": number,
            }
            for number in range(images)
        ],
        "annotations": [
            {
                "id": 10 * number + place,
                "image_id": number,
                "category_id": 18 if place < 2 else 3,
                "segmentation": [[1.5, 2.0, 3.25, 4.0, 5.0, 6.0]],
                "bbox": [1.0, 2.0, 3.0, 4.0],
                "iscrowd": 0,
            }
            for number in range(images)
            for place in range(3)
            if number % 10
        ],
        "categories": [
            {"supercategory": "vehicle", "id": 3, "name": "car"},
            {"supercategory": "animal", "id": 18, "name": "dog"},
        ],
    }


def coco(host: Host, photographs: Sequence[bytes], subset: str = "train2017") -> str:
    """The address of a host like COCO's."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps(coco_annotations(len(photographs)))
        archive.writestr(f"annotations/instances_{subset}.json", text)
        archive.writestr("annotations/captions_train2017.json", "{}")
    host.files["/annotations/annotations_trainval2017.zip"] = buffer.getvalue()
    for number, photograph in enumerate(photographs):
        host.files[f"/{subset}/{number:012d}.jpg"] = photograph
    return host.address


def unsplash(host: Host, photographs: Sequence[bytes], extension: str = "tsv000") -> str:
    """The address of an archive like that of Unsplash's Lite set."""
    mark = "\t" if extension.startswith("tsv") else ","
    lines = [mark.join(["photo_id", "photo_url", "photo_image_url", "photo_description"])]
    for number, photograph in enumerate(photographs):
        path = f"/photo-{number}"
        host.files[path] = photograph
        row = [
            f"id{number}",
            "https://unsplash.com/x",
            host.address + path,
            '"two ""words""\nhere"',
        ]
        lines.append(mark.join(row))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"lite/photos.{extension}", "\n".join(lines) + "\n")
        archive.writestr("lite/keywords.tsv000", "photo_id\tkeyword\n")
    host.files["/data/lite/latest"] = buffer.getvalue()
    return f"{host.address}/data/lite/latest"


def parquet(rows: Sequence[Mapping[str, object]], names: list[str] | None, group: int) -> bytes:
    """A Parquet file as the library `datasets` writes it."""
    feature = {"names": names, "_type": "ClassLabel"} if names else {"dtype": "int64"}
    told = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [("image", image), ("label", pa.int64())], metadata={"huggingface": json.dumps(told)}
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, row_group_size=group)
    return buffer.getvalue()


def hub(
    host: Host,
    repository: str,
    files: dict[str, bytes],
    license_: str = "cc0-1.0",
    revision: str = "main",
) -> str:
    """The address of a hub with one data set."""
    blobs = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    siblings = [
        {
            "rfilename": name,
            "blobId": blob[:40],
            "size": len(files[name]),
            "lfs": {"sha256": blob, "size": len(files[name]), "pointerSize": 134},
        }
        for name, blob in blobs.items()
    ]
    info = {"id": repository, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0}
    info |= {"likes": 0, "private": False, "cardData": {"license": license_}}
    for name in (revision, COMMIT):
        host.files[f"/api/datasets/{repository}/revision/{name}"] = json.dumps(info).encode()
    folders = {Path(name).parent.as_posix() for name in files}
    for folder in folders:
        tree = [
            {"type": "file", "oid": blob[:40], "size": len(files[name]), "path": name}
            for name, blob in blobs.items()
            if Path(name).parent.as_posix() == folder
        ]
        host.files[f"/api/datasets/{repository}/tree/{COMMIT}/{folder}"] = json.dumps(tree).encode()
    for name, content in files.items():
        host.files[f"/datasets/{repository}/resolve/{COMMIT}/{name}"] = content
    return host.address


def imagenet(
    host: Host,
    photographs: Sequence[tuple[str, bytes]],
    names: Sequence[str],
    repository: str = "ILSVRC/imagenet-1k",
    revision: str = "main",
) -> str:
    """The address of a hub with ImageNet in Parquet files of up to 50 images.

    Args:
        host: The server.
        photographs: Category and bytes of each.
        names: What the hub calls the classes, in the order of their numbers.
        repository: The data set's name.
        revision: A name of its commit.
    """
    numbers = {name: number for number, name in enumerate(names)}
    rows = [
        {"image": {"bytes": content, "path": None}, "label": numbers[wnid]}
        for wnid, content in photographs
    ]
    parts = [rows[at : at + 50] for at in range(0, len(rows), 50)]
    files = {
        f"data/train-{n:05d}-of-{len(parts):05d}.parquet": parquet(part, list(names), 10)
        for n, part in enumerate(parts)
    }
    return hub(host, repository, files, "other", revision)


def main() -> None:
    """Serve every set until Ctrl-C, to try presets by hand: print one `source.address` a line."""
    from chromaflow.data.sources import wordnet
    from tests.support import photographs

    names, pictures = wordnet.categories(), photographs.imagenet()
    with Host() as host:
        host.gated.add("imagenet-1k")
        host.welcome.add("Bearer hf_test")
        mini = ("timm/mini-imagenet", "bd8779f9d33c061ea6e75fdd3bce4e43dd679060")
        lines = [
            f"cvcl {cvcl(host, photographs.cvcl())}",
            f"coco {coco(host, photographs.coco())}",
            f"unsplash {unsplash(host, photographs.coco())}",
            f"imagenet {imagenet(host, pictures, names)} with HF_TOKEN=hf_test",
            f"imagenet-mini {imagenet(host, pictures, names, *mini)}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
