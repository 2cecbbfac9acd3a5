"""Files and folders that are whole or absent, whatever interrupts their writing."""

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
    """Read a file, once it is known to be one and no longer than expected.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a folder, pipe or device, which might never end, or too long.
    """
    size = check_regular(path)
    if most is not None and size > most:
        raise ValueError(f"{path} is refused: it has {size:,} bytes, and {most:,} are the most.")
    return path.read_bytes()


def check_regular(path: str | Path) -> int:
    """Return the size of a file in bytes, once it is known to be one that can be read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a folder, pipe or device, which might never end.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is a folder, pipe or device: a file is expected.")
    return found.st_size


def check_replaceable(path: Path) -> None:
    """Check that a file can be written in a place, which may be taken by a file or a link.

    Raises:
        ValueError: if there is a folder, pipe or device.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        kind = os.lstat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
            raise ValueError(f"{path} is a folder, pipe or device: a file is expected.")


def check_own_folder(path: Path) -> None:
    """Check that a folder, if it is there, is none of another place.

    Raises:
        ValueError: if it is a link, through which files would be written elsewhere, or no folder.
    """
    if path.is_symlink():
        raise ValueError(
            f"{path} is a link, and what is written there would land elsewhere: put a folder in "
            "its place, or remove it."
        )
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file, pipe or device: a folder is expected.")


def write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, and rename it when it is complete.

    What a process that was killed left of the same file is removed.

    Raises:
        OSError: if the disk is full or cannot be written to; an older file is then still whole.
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
        with suppress(FileNotFoundError):  # an interrupt may come when it has been renamed already
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise


def clean(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed left half written in a folder.

    Args:
        folder: the folder; not those in it.
        name: the file or folder that was being written; any by default.
    """
    for path in abandoned(folder, name):
        with suppress(OSError):  # nothing depends on it
            path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)


def abandoned(folder: Path, name: str | None = None) -> list[Path]:
    """What processes that were killed left half written in a folder, as for `clean`."""
    pattern = re.compile(
        rf"\.{'.*' if name is None else re.escape(name)}-(\d+)-\w{{8}}{re.escape(_SUFFIX)}"
    )
    return [
        Path(entry.path)
        for entry in os.scandir(folder)
        if (found := pattern.fullmatch(entry.name)) and not is_running(int(found[1]))
    ]


def is_running(process: int) -> bool:
    """Whether there is a process of that number on this machine, or it cannot be known."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # of another user
    return True


def free(path: Path) -> Path:
    """The path, or where there is something already, one beside it: name-2, name-3, ..."""
    others = (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(2))
    return next(p for p in itertools.chain([path], others) if not os.path.lexists(p))


@contextmanager
def new_folder(path: Path, last: str) -> Iterator[Path]:
    """Fill a folder under a temporary name, and rename it when it is complete.

    A folder that exists receives its content at the end: it may be where its user stands, a link,
    or a volume of its own. Whoever is killed in that moment leaves it `unfinished`.

    Args:
        path: the folder.
        last: the file without which its content means nothing, which is moved there last.

    Raises:
        FileExistsError: if another process has filled the folder meanwhile.
        OSError: if the disk is full or cannot be written to; no file or folder has then appeared.
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
    """Suffix and prefix of what is being written; the process tells whether it still is."""
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
