"""The modules of a package that others load, found by reading their source, without running it."""

import ast
import fnmatch
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

DYNAMIC = ("import_module", "__import__")
# Code, its cache, and the marker of a typed package.
_NOT_DATA = (".py", ".pyc", "py.typed")


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of a package by its full name, a folder's `__init__.py` by the folder's.

    Args:
        package: The folder of the package.
    """
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def loaded_from(
    starts: Iterable[str], modules: Mapping[str, Path], closed: Collection[str] = ()
) -> dict[str, str]:
    """All modules that loading some of them may load, each with the one that first imports it.

    Imports within functions count, those under `if TYPE_CHECKING:` do not. A module imported by a
    name with a gap, such as `import_module(f"package.{name}")`, is every module whose name fits.

    Args:
        starts: Names of modules; the modules found have an empty importer.
        modules: As of `modules_of`.
        closed: Packages whose modules are found, but not followed to what they import.

    Raises:
        KeyError: A start that is no module.
        ValueError: An import by a name that the source says nothing of, or that no module has.
    """
    found: dict[str, str] = {}
    waiting = [(name, "") for name in starts]
    while waiting:
        name, importer = waiting.pop()
        if name in found:
            continue
        found[name] = importer
        # Loading a module loads the packages that it lies in.
        if parent := name.rpartition(".")[0]:
            waiting.append((parent, name))
        if any(name == package or name.startswith(f"{package}.") for package in closed):
            continue
        names = imported_by(ast.parse(modules[name].read_text()), name, modules)
        waiting += [(other, name) for other in sorted(names, reverse=True)]
    return found


def imported_by(tree: ast.AST, name: str, modules: Mapping[str, Path]) -> set[str]:
    """The modules that a piece of source imports by itself, anywhere in it.

    Args:
        tree: The source.
        name: Of the module that it belongs to.
        modules: As of `modules_of`.

    Raises:
        ValueError: As of `loaded_from`.
    """
    package = name if modules[name].name == "__init__.py" else name.rpartition(".")[0]
    names: set[str] = set()
    for node in _nodes_that_run(tree):
        match node:
            case ast.Import():
                names.update(alias.name for alias in node.names)
            case ast.ImportFrom():
                base = _absolute("." * node.level + (node.module or ""), package)
                # What is imported from a package may be a module of it, or a name in it.
                names.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
            case ast.Call() if ast.unparse(node.func).rpartition(".")[2] in DYNAMIC:
                names |= _fitting(node, name, package, modules)
    return names & modules.keys()


def data_files_of(loaded: Iterable[str], modules: Mapping[str, Path]) -> list[Path]:
    """The files other than Python's that are data of some modules.

    A file belongs to the modules of its own folder; where there are none, to those of the next
    folder above that name the folder in between.

    Args:
        loaded: Names of modules.
        modules: As of `modules_of`.
    """
    folders = {path.parent for path in modules.values()}
    sources: dict[Path, str] = {}
    for name in loaded:
        path = modules[name]
        sources[path.parent] = sources.get(path.parent, "") + path.read_text()
    found = []
    for path in sorted(min(folders).rglob("*")):
        if not path.is_file() or path.name.endswith(_NOT_DATA):
            continue
        owner = next(parent for parent in path.parents if parent in folders)
        between = path.relative_to(owner).parts[0] if path.parent != owner else ""
        if owner in sources and between in sources[owner]:
            found.append(path)
    return found


def _nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but for what only type checkers read."""
    yield node
    unread: list[ast.stmt] = []
    if isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
        unread = node.body
    for child in ast.iter_child_nodes(node):
        if child not in unread:
            yield from _nodes_that_run(child)


def _absolute(name: str, package: str) -> str:
    """A name without the dots in front that say where in `package` it is."""
    base = name.lstrip(".")
    if not (level := len(name) - len(base)):
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [base])])


def _fitting(call: ast.Call, name: str, package: str, modules: Mapping[str, Path]) -> set[str]:
    """The modules that a call may import by name."""
    text = _pattern(call.args[0], {"__package__": package, "__name__": name})
    pattern = _absolute(text, package)
    found = set(fnmatch.filter(modules, pattern))
    foreign = pattern.partition(".")[0] != package.partition(".")[0]
    if pattern.startswith("*") or not (found or foreign):
        raise ValueError(f"{modules[name]}:{call.lineno}: {ast.unparse(call)} cannot be followed.")
    return found


def _pattern(value: ast.expr, known: Mapping[str, str]) -> str:
    """A text as far as the source gives it; `*` stands for the rest."""
    match value:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=variable) if variable in known:
            return known[variable]
        case ast.FormattedValue():
            return _pattern(value.value, known)
        case ast.JoinedStr():
            return "".join(_pattern(part, known) for part in value.values)
        case ast.BinOp(op=ast.Add()):
            return _pattern(value.left, known) + _pattern(value.right, known)
    return "*"
