"""Files and folders that are whole or absent, whatever interrupts their writing."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, and rename it when it is complete.

    Raises:
        OSError: if the disk is full or cannot be written to; an older file is then still whole.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=temporary_name(path.name), dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes it private
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        raise _unwritable(path, error) from error
    except BaseException:
        os.unlink(temporary)
        raise


def free(path: Path) -> Path:
    """The path, or where there is something already, one beside it: name-2, name-3, ..."""
    others = (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(2))
    return next(p for p in itertools.chain([path], others) if not p.exists())


def temporary_name(name: str) -> str:
    """What the name of a file begins with while it is being written."""
    return f".{name}-"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name, and rename it when it is complete.

    A folder that exists, and must be empty, is filled in place: it may be where its user stands, a
    link, or a volume of its own, and is emptied again if anything fails.

    Raises:
        OSError: if the disk is full or cannot be written to; no file or folder has then appeared.
    """
    exists = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        filled = (
            path
            if exists
            else Path(tempfile.mkdtemp(prefix=temporary_name(path.name), dir=path.parent))
        )
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield filled
        if not exists:
            filled.chmod(0o777 & ~_umask())  # mkdtemp makes it private
            os.rename(filled, path)
    except BaseException:
        for child in filled.iterdir():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        if not exists:
            filled.rmdir()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(path: Path, error: OSError) -> OSError:
    reason = error.strerror or str(error)
    return OSError(
        error.errno, f"{path} could not be written ({reason}): free or choose another disk"
    )
