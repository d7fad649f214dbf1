from pathlib import Path

import pytest

from tests.support.imports import data_files_of, loaded_from, modules_of

SOURCES = {
    "__init__.py": "",
    "py.typed": "",
    "step.py": "import json\nimport house.direct\nfrom house import submodule\n",
    "direct.py": "from house.deep.inner import thing\n",
    "submodule.py": "def act():\n    import house.late as late\n",
    "late.py": "class A:\n    def act(self):\n        from . import neighbor\n",
    "neighbor.py": "from .deep import named\n",
    "unread.py": "",
    "deep/__init__.py": "from house.of_a_package import x\n",
    "deep/inner.py": "from ..above import y\nthing = 'pages'\n",
    "deep/named.py": "",
    "deep/table.csv": "1,2\n",
    "deep/pages/page.html": "",
    "above.py": "y = 1\n",
    "of_a_package.py": "x = 1\n",
    "types.py": "",
    "guarded.py": """
import typing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import house.types
if typing.TYPE_CHECKING:
    from house import types
else:
    import house.direct
""",
    "kinds/__init__.py": """
import importlib
def load(name):
    return importlib.import_module(f"house.kinds.{name}").KIND
""",
    "kinds/first.py": "",
    "kinds/second.py": "import house.unread\n",
    "kinds/notes.txt": "",
    "opener.py": """
from importlib import import_module
def load(name):
    return import_module(f"{__package__}.kinds." + name)
""",
    "relative.py": """
import importlib
importlib.import_module(".late", __package__)
importlib.import_module("json")
""",
    "by_hand.py": "__import__('house.late')\n",
    "unknown.py": "import importlib\nimportlib.import_module(name)\n",
    "lost.py": "import importlib\nimportlib.import_module('house.gone')\n",
}


@pytest.fixture
def modules(tmp_path: Path) -> dict[str, Path]:
    for name, text in SOURCES.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return modules_of(tmp_path / "house")


def names(*ends: str) -> set[str]:
    return {"house", *(f"house.{end}" for end in ends)}


LATE = {"late", "neighbor", "deep", "deep.named", "of_a_package"}
DIRECT = {"direct", "deep", "deep.inner", "above", "of_a_package"}


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        pytest.param("direct", DIRECT, id="from-import, relative import, packages in between"),
        pytest.param("submodule", {"submodule"} | LATE, id="import in functions and methods"),
        pytest.param("step", {"step", "submodule"} | DIRECT | LATE, id="import and submodule"),
        pytest.param("guarded", {"guarded"} | DIRECT, id="not what only type checkers read"),
        pytest.param(
            "kinds", {"kinds", "kinds.first", "kinds.second", "unread"}, id="name with a gap"
        ),
        pytest.param(
            "opener",
            {"opener", "kinds", "kinds.first", "kinds.second", "unread"},
            id="name below its own package",
        ),
        pytest.param("relative", {"relative"} | LATE, id="relative name"),
        pytest.param("by_hand", {"by_hand"} | LATE, id="__import__"),
    ],
)
def test_what_a_module_loads(modules: dict[str, Path], start: str, expected: set[str]) -> None:
    assert loaded_from([f"house.{start}"], modules).keys() == names(*expected)


def test_each_module_comes_with_its_importer(modules: dict[str, Path]) -> None:
    loaded = loaded_from(["house.direct"], modules)
    assert loaded["house.direct"] == ""
    assert loaded["house.deep.inner"] == "house.direct"
    assert loaded["house.above"] == "house.deep.inner"
    assert loaded["house.of_a_package"] == "house.deep"


@pytest.mark.parametrize("start", ["unknown", "lost"])
def test_what_cannot_be_followed_is_named(modules: dict[str, Path], start: str) -> None:
    with pytest.raises(ValueError, match=rf"{start}\.py:2: importlib\.import_module"):
        loaded_from([f"house.{start}"], modules)


def test_a_start_that_is_no_module_is_refused(modules: dict[str, Path]) -> None:
    with pytest.raises(KeyError, match=r"house\.nothing"):
        loaded_from(["house.nothing"], modules)


def test_data_belongs_to_the_modules_of_its_folder(modules: dict[str, Path]) -> None:
    def found(*starts: str) -> list[str]:
        return [path.name for path in data_files_of(loaded_from(starts, modules), modules)]

    assert found("house.unread") == []
    assert found("house.direct") == ["page.html", "table.csv"]
    assert found("house.deep.named") == ["table.csv"]
    assert found("house.kinds") == ["notes.txt"]


def test_a_closed_package_is_found_but_not_followed(modules: dict[str, Path]) -> None:
    assert set(loaded_from(["house.step"], modules, closed=["house.deep", "house.late"])) == names(
        "step", "direct", "submodule", "late", "deep", "deep.inner"
    )
