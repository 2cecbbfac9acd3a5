"""Atomic writes of files and folders: after an interruption they are complete or absent."""

import errno
import itertools
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX = ".part"


def read(path: Path, most: int | None = None) -> bytes:
    """Read a file, after checking that it is a regular file and not too long.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a folder, pipe or device, or too long.
    """
    size = check_regular(path)
    if most is not None and size > most:
        raise ValueError(f"{path} is too long: it has {size:,} bytes, and {most:,} are the most.")
    return path.read_bytes()


def check_regular(path: str | Path) -> int:
    """Return the size of a file in bytes, after checking that it is a regular file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a folder, pipe or device.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is a folder, pipe or device: a file is expected.")
    return found.st_size


def check_replaceable(path: Path) -> None:
    """Raise if a file cannot be written at a path; an existing file or link is fine.

    Raises:
        ValueError: if a folder, pipe or device is there.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        kind = os.lstat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
            raise ValueError(f"{path} is a folder, pipe or device: a file is expected.")


def check_own_folder(path: Path) -> None:
    """Raise if a path exists and is not a folder, or is a link to one.

    Raises:
        ValueError: if it is a link, so that files would be written elsewhere, or not a folder.
    """
    if path.is_symlink():
        raise ValueError(
            f"{path} is a link, so files would be written elsewhere: put a folder in "
            "its place, or remove it."
        )
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file, pipe or device: a folder is expected.")


def write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, and rename it when it is complete.

    Temporary files that killed processes left for the same file are removed.

    Raises:
        OSError: if the disk is full or cannot be written to; an older file is then unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clean(path.parent, path.name)
        descriptor, temporary = tempfile.mkstemp(*_affixes(path.name), dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(FileNotFoundError):  # an interrupt may come after the renaming
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def clean(folder: Path, name: str | None = None) -> None:
    """Remove temporary files and folders that killed processes left in a folder.

    Args:
        folder: the folder; subfolders are not cleaned.
        name: the final name of the file or folder; any by default.
    """
    for path in abandoned(folder, name):
        with suppress(OSError):  # cleaning is optional
            path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)


def abandoned(folder: Path, name: str | None = None) -> list[Path]:
    """Find temporary files and folders that killed processes left; arguments as for `clean`."""
    pattern = re.compile(
        rf"\.{'.*' if name is None else re.escape(name)}-(\d+)-\w{{8}}{re.escape(_SUFFIX)}"
    )
    return [
        Path(entry.path)
        for entry in os.scandir(folder)
        if (found := pattern.fullmatch(entry.name)) and not is_running(int(found[1]))
    ]


def is_running(process: int) -> bool:
    """Whether a process with this id runs on this machine; true if unknown."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # a process of another user
    return True


def free(path: Path) -> Path:
    """Return the path, or if it exists, the first free one of name-2, name-3, ..."""
    others = (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(2))
    return next(p for p in itertools.chain([path], others) if not os.path.lexists(p))


@contextmanager
def new_folder(path: Path, last: str) -> Iterator[Path]:
    """Fill a folder under a temporary name, and rename it when it is complete.

    An existing folder is not replaced, since it may be the working directory, a link, or a volume:
    its content is moved in at the end. A process that is killed meanwhile leaves it `unfinished`.

    Args:
        path: the folder.
        last: the file that completes the folder, which is moved last.

    Raises:
        FileExistsError: if another process has filled the folder meanwhile.
        OSError: if the disk is full or cannot be written to; nothing has then been created.
    """
    exists = path.exists()
    within = path if exists else path.parent
    try:
        within.mkdir(parents=True, exist_ok=True)
        clean(within, path.name)
        filled = Path(tempfile.mkdtemp(*_affixes(path.name), dir=within))
    except OSError as error:
        raise _unwritable(path, error) from error
    children: list[Path] = []
    try:
        yield filled
        filled.chmod(0o777 & ~_umask())  # mkdtemp makes it private
        if exists:
            children = sorted(filled.iterdir(), key=lambda child: child.name == last)
            for child in children:
                os.rename(child, path / child.name)
            filled.rmdir()
        else:
            os.rename(filled, path)
    except BaseException as error:
        moved = [path / child.name for child in children if not child.exists()]
        for half in (filled, *moved):
            shutil.rmtree(half) if half.is_dir() else half.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(error.errno, f"{path} was made by another process") from error
        raise


def unfinished(path: Path) -> bool:
    """Whether a process was killed while `new_folder` moved content into a folder."""
    return bool(abandoned(path, path.name))


def _affixes(name: str) -> tuple[str, str]:
    """Suffix and prefix of temporary names; they hold the process id, to detect killed writers."""
    return _SUFFIX, f".{name}-{os.getpid()}-"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(path: Path, error: OSError) -> OSError:
    reason = error.strerror or str(error)
    return OSError(
        error.errno, f"{path} could not be written ({reason}): free or choose another disk"
    )
