"""Data Docs that open from disk: nothing in them is fetched from elsewhere."""

import re
from collections.abc import Callable
from pathlib import Path

from chromaflow.files import atomic_folder

# Great Expectations' pages load fonts, styles and scripts from a dozen hosts, which would tell them
# when and where a report is read. What the pages say does not need them.
_REMOTE = re.compile(
    r"<script[^>]*\bsrc=[\"']https?:[^>]*>\s*</script>|<link[^>]*\bhref=[\"']https?:[^>]*>"
    r"|<img[^>]*\bsrc=[\"']https?:[^>]*>"
)
_REMOTE_IMAGE = re.compile(r"url\(\s*[\"']?https?:[^)]*\)")
_STYLE = """<style>
body { font-family: system-ui, sans-serif; margin: 1rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 }
td, th { border: 1px solid #ccc; padding: .25rem .5rem; text-align: left; vertical-align: top }
.row { display: block } .collapse { display: block } .modal, .ge-walkthrough-modal { display: none }
</style>
</head>"""


def _localize(page: str) -> str:
    page = _REMOTE_IMAGE.sub("none", _REMOTE.sub("", page))
    return page.replace("</head>", _STYLE, 1)


def write_data_docs(folder: Path, build: Callable[[Path], None]) -> None:
    """Write the Data Docs, replacing older ones whole.

    Args:
        folder: Of the static site; its `index.html` is the start.
        build: Writes the site of Great Expectations into the folder that it is given.
    """
    with atomic_folder(folder) as temporary:
        build(temporary)
        for page in temporary.rglob("*.html"):
            page.write_text(_localize(page.read_text(encoding="utf-8")), encoding="utf-8")
