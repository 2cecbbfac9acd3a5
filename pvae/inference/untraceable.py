"""Exceptions for programs without a graph, or with a wrong one."""


class Untraceable(Exception):
    """A program whose operations are not the same at every step.

    Attributes:
        cause: the cause, as a clause.
        place: its location, as ``file:line: code``; empty if unknown.
    """

    def __init__(self, cause: str, place: str = "") -> None:
        self.cause = cause
        self.place = place
        super().__init__(f"{cause} ({place})" if place else cause)


class Unmet(Exception):
    """A step in which a check has another result than the graph assumes."""


class Disagreement(Exception):
    """A graph with other results than the eager program, for the same random numbers."""


def brief(error: BaseException) -> str:
    """Describe an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def shown(value: object) -> str:
    """A value as Python writes it, in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"an object of type {type(value).__name__}"


def wrong(error: Disagreement) -> RuntimeError:
    """The error for users who asked for a graph."""
    return RuntimeError(
        f"The compiled graph disagrees with the eager program on the same random numbers: {error}; "
        "try backend='graph', or run it by pyro.infer.SVI (pvae.fit: compile=False)."
    )
