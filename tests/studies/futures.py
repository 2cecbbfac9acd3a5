"""Futures for executors made by tests."""

import concurrent.futures


def done(function, *arguments):
    """A future that has run a function here and now."""
    future = concurrent.futures.Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future
