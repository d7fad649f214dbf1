"""Zip and tar archives that are read in place and not trusted: nothing is ever unpacked to disk."""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from chromaflow.data.sources.base import UnreadableError
from chromaflow.errors import DataError

LARGEST_MEMBER = 64 * 2**20
LARGEST_RATIO = 100


def leads_out(name: str) -> bool:
    """Whether a member's name would leave the folder that it is unpacked into."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in name


def fault(member: zipfile.ZipInfo) -> str:
    """What makes a member of a zip archive dangerous; empty where nothing does."""
    if leads_out(member.filename):
        return "points outside the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.file_size > LARGEST_MEMBER:
        return f"is larger than {LARGEST_MEMBER // 2**20} MiB"
    if member.file_size > LARGEST_RATIO * max(member.compress_size, 1):
        return f"unpacks to more than {LARGEST_RATIO} times its size"
    return ""


def members(path: Path, name: str, remedy: str) -> list[zipfile.ZipInfo]:
    """Files of a zip archive by their names.

    Args:
        path: The archive.
        name: What names it in an error, such as the setting.
        remedy: The command that fixes it.

    Raises:
        DataError: It cannot be read, is not a complete zip archive, or its members overlap.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            found = sorted((m for m in archive.infolist() if not m.is_dir()), key=_filename)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}.", remedy) from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DataError(f"{name} is not a complete zip archive: {error}.", remedy) from None
    if sum(member.compress_size for member in found) > size:
        raise DataError(f"{name} is refused: its members overlap.", remedy)
    return found


def _filename(member: zipfile.ZipInfo) -> str:
    return member.filename


def unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Bytes of a member, never more than the archive's directory says.

    Raises:
        UnreadableError: It is dangerous or broken.
    """
    if reason := fault(member):
        raise UnreadableError(f"the member {reason}")
    try:
        with archive.open(member) as file:
            return file.read(LARGEST_MEMBER)
    # Encrypted members raise RuntimeError, unknown methods of packing NotImplementedError.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise UnreadableError(f"the member does not unpack: {error}") from None
