"""Runs on a Dask cluster."""

import concurrent.futures
import contextlib
import importlib.util
from collections.abc import Iterator

SECONDS = 8  # to wait for the scheduler: with the imports before, ten


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[concurrent.futures.Executor | None]:
    """The executor of a Dask cluster while entered; ``None`` without an address.

    Raises:
        ConnectionError: if nothing answers there within ten seconds.
        RuntimeError: if Dask is not installed.
    """
    if address is None:
        yield None
        return
    if importlib.util.find_spec("distributed") is None:
        raise RuntimeError(
            "A scheduler needs Dask, which is not installed: run pip install 'pvae[cluster]'."
        )
    import distributed

    try:
        client = distributed.Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"No Dask scheduler answers at {address}: start one there, or give the address that it "
            "prints, such as tcp://host:8786."
        ) from error
    with client:
        pool = client.get_executor(pure=False, retries=3)
        try:
            yield pool
        finally:
            pool.shutdown(wait=False)  # of a study that has ended, however it did
