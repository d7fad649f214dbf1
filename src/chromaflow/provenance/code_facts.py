"""The code that this process runs: the commit, what differs from it, and what was imported."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import chromaflow
from chromaflow.project import dvc, files
from chromaflow.project.paths import Project
from chromaflow.provenance.facts import ELSEWHERE, CodeFacts

_PATCH_BYTES = 1 << 20
_PACKAGE = "src/chromaflow"
_CODE = (_PACKAGE, "flows")
# A record is kept for years and read by many; what usually holds passwords never enters it.
_SECRET_NAMES = (".env*", "*.env", "*.pem", "*.key", "*secret*", "*credential*", "*password*")
_NOT_SECRET = [f":(exclude,icase,glob)**/{pattern}" for pattern in _SECRET_NAMES]
_NOT_COMPILED = ":(exclude,glob)**/__pycache__/**"
# These are recorded whole.
_RECORDED_FILES = {"data.dvc", "dvc.lock", "params.yaml", "releases.yaml"}
# Whatever the user's own settings of git are, `git apply` understands it.
_PATCH_OPTIONS = (
    *("--binary", "--no-color", "--no-ext-diff", "--no-renames", "--no-textconv", "--relative"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
_NOT_IN_GIT = "none: no commit of git here"


def _git(project: Project, *arguments: str, differs: bool = False) -> bytes | None:
    """Standard output of a git command; None where it failed.

    Args:
        project: The checkout.
        arguments: Of git.
        differs: Whether exit code 1 says that files differ, rather than that it failed.
    """
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        result = subprocess.run(
            ["git", "-C", str(project.root), *arguments],
            capture_output=True,
            env=environment,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode in ((0, 1) if differs else (0,)) else None


def _line(project: Project, *arguments: str) -> str:
    return (_git(project, *arguments) or b"").decode(errors="replace").strip()


def git_commit(project: Project) -> str:
    """The commit that is checked out; where there is none, a text that says so."""
    return _line(project, "rev-parse", "HEAD") or _NOT_IN_GIT


class _GitFailedError(Exception):
    """Git cannot report what differs from the commit."""


def _names(project: Project, *arguments: str) -> set[str]:
    """The names that a git command lists with -z."""
    listed = _git(project, *arguments)
    if listed is None:
        raise _GitFailedError
    return set(filter(None, os.fsdecode(listed).split("\0")))


@dataclass(frozen=True)
class _Changes:
    """The files that differ from the commit.

    Args:
        tracked: Those that git knows.
        code: Those that it does not know, and that are code of chromaflow or were imported.
        others: The others that it does not know, nor ignores; a folder ends in a slash.
    """

    tracked: frozenset[str]
    code: frozenset[str]
    others: frozenset[str]


def _changes(project: Project, *but: str) -> _Changes:
    """The files that differ, without those that the pathspecs exclude.

    Raises:
        _GitFailedError: Git fails.
    """
    changed = ("diff", "HEAD", "--name-only", "--relative", "-z")
    unknown = ("ls-files", "--others", "-z")
    places = [*_CODE, *(f":(literal){name}" for name in _imported(project))]
    # Also what git ignores: it was imported all the same.
    code = _names(project, *unknown, "--", *places, _NOT_COMPILED, *but)
    plain = _names(project, *unknown, "--exclude-standard", "--directory", "--", ".", *but)
    return _Changes(
        tracked=frozenset(_names(project, *changed, "--", ".", *but)),
        code=frozenset(code),
        others=frozenset(
            name
            for name in plain - code
            if not (name.endswith("/") and any(own.startswith(name) for own in code))
        ),
    )


def _imported(project: Project) -> list[str]:
    """The files of the checkout that this process imported, but for packages installed in it."""
    root, installed = project.root.resolve(), Path(sys.prefix).resolve()
    found = set()
    for module in list(sys.modules.values()):
        # Not by getattr(), at which a module that imports itself late would do so.
        name = getattr(module, "__dict__", {}).get("__file__")
        path = Path(name).resolve() if isinstance(name, str) else None
        if path is None or not path.is_relative_to(root) or path.is_relative_to(installed):
            continue
        found.add(path.relative_to(root).as_posix())
    return sorted(
        name for name in found if not name.startswith(tuple(f"{place}/" for place in _CODE))
    )


def code_facts(project: Project) -> CodeFacts:
    """The code of this process, but for `changes_kept`.

    Settings and records of DVC do not count as code, nor does what stages write: every retraining
    changes them.
    """
    imported = Path(chromaflow.__file__).resolve().parent
    own = (project.root / _PACKAGE).resolve()
    digest = code_digest(imported)
    commit = git_commit(project)
    if imported != own and digest != code_digest(own):
        return CodeFacts(ELSEWHERE, digest=digest)
    if commit == _NOT_IN_GIT:
        return CodeFacts(commit, digest=digest)
    branch = _line(project, "rev-parse", "--abbrev-ref", "HEAD")
    try:
        found = _changes(project)
    except _GitFailedError:
        return CodeFacts(commit, branch, "unknown", digest=digest)
    names = found.tracked | found.code | found.others
    changed = ", ".join(sorted(names - _changed_by_runs(project)))
    return CodeFacts(commit, branch, "true" if changed else "false", changed, digest=digest)


def _changed_by_runs(project: Project) -> set[str]:
    """Files that every retraining changes."""
    return _RECORDED_FILES | dvc.kept_in_git(project)


def code_digest(package: Path) -> str:
    """SHA-256 over the names and contents of a package's files, but for compiled ones."""
    found = (path for path in package.rglob("*") if "__pycache__" not in path.parts)
    return files.digest_of(package, (path for path in found if path.is_file()))


@dataclass(frozen=True)
class Patch:
    """What a checkout has and its commit has not.

    Args:
        content: For `git apply`, in a clone at that commit; empty where nothing differs.
        missing: What differs and is not in it, each with the reason.
    """

    content: bytes = b""
    missing: tuple[str, ...] = ()

    @property
    def kept(self) -> str:
        """How much of what differs is in it, in words; empty where nothing differs."""
        if self.missing:
            return "all but " + ", ".join(self.missing)
        return "all" if self.content else ""


def uncommitted(project: Project) -> Patch:
    """The uncommitted changes, and the whole of code that git does not know.

    Without files whose names are those of secrets, and at most 1 MiB.
    """
    try:
        every, found = _changes(project), _changes(project, *_NOT_SECRET)
    except _GitFailedError:
        return Patch(b"", ("everything (git cannot report what differs)",))
    # None of them would fit, whatever else there is.
    large = {name for name in found.code if _size(project.root / name) > _PATCH_BYTES}
    parts: list[bytes] = []
    missing = [f"{name} (it may hold a secret)" for name in sorted(_left_out(every, found))]
    missing += [f"{name} (too large)" for name in sorted(large)]
    unrelated = sorted(found.others - _changed_by_runs(project))
    missing += [f"{name} (not imported)" for name in unrelated]
    for name, part in _parts(project, found.code - large):
        if part is None:
            missing.append(f"{name} (git does not tell)")
        elif sum(map(len, parts)) + len(part) > _PATCH_BYTES:
            missing.append(f"{name} (too large)")
        else:
            parts.append(part)
    return Patch(b"".join(parts), tuple(missing))


def _size(path: Path) -> int:
    """Bytes of a file; 0 where it vanished meanwhile."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _left_out(every: _Changes, found: _Changes) -> frozenset[str]:
    return (every.tracked - found.tracked) | (every.code - found.code)


def _parts(project: Project, code: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    """The parts of the patch, the code first, each with what it is of.

    Args:
        project: The checkout.
        code: Files that git does not know.
    """
    diff = ("diff", "HEAD", *_PATCH_OPTIONS, "--")
    yield "the changes of the code", _git(project, *diff, *_CODE, *_NOT_SECRET)
    for name in sorted(code):
        new = ("diff", "--no-index", *_PATCH_OPTIONS, "--", os.devnull, name)
        yield name, _git(project, *new, differs=True)
    others = [f":(exclude){place}" for place in _CODE]
    yield "the other changes", _git(project, *diff, ".", *others, *_NOT_SECRET)
