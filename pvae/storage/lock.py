"""Locks of folders, so that only one process writes at a time."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pvae.storage.files import is_running

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock a folder while entered, if the system and the disk support locks.

    The operating system releases the lock when the process that holds it ends; the file names the
    process.

    Raises:
        BlockingIOError: if another process holds it; the message has its id.
        ValueError: if something else has the path of the lock file, such as a link.
        OSError: if the folder cannot be written to.
    """
    path = folder / NAME
    descriptor = _acquire(path) if fcntl else None
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):  # the folder may be gone
                os.unlink(path)
            os.close(descriptor)


def _acquire(path: Path) -> int | None:
    me = f"{os.getpid()} {socket.gethostname()}"
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 100).decode(errors="replace").split()
            stale = _is_stale(holder)
            os.close(descriptor)
            if stale:  # one of its worker processes still holds the inherited lock
                path.unlink(missing_ok=True)
                continue
            who = f"process {holder[0]}" if holder else "another process"
            raise BlockingIOError(
                errno.EAGAIN,
                f"{path.parent} is being written by {who}: wait until it has ended, or choose "
                "another run folder",
            ) from None
        except OSError:  # such as on a network disk without locks
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return None
        if _is_same(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, me.encode())
            return descriptor
        os.close(descriptor)  # the holder has just ended and removed the file


def _open(path: Path) -> int:
    """Open a lock file for writing, after checking that it is not a link or another file."""
    refusal = f"{path} is not the file of a lock, but a link, folder, pipe or device: remove it."
    try:
        # Without O_NONBLOCK, opening a device may block.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EMLINK):
            raise ValueError(refusal) from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # a hard link to another file
        os.close(descriptor)
        raise ValueError(refusal)
    return descriptor


def _is_stale(holder: list[str]) -> bool:
    on_this_machine = len(holder) == 2 and holder[1] == socket.gethostname()
    return on_this_machine and holder[0].isdecimal() and not is_running(int(holder[0]))


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
