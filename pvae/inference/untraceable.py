"""What is raised where there is no graph, or a wrong one."""


class Untraceable(Exception):
    """A program whose operations are not the same at every step.

    Attributes:
        cause: what was met, as a clause.
        place: where, as ``file:line: code``; empty where no line is to blame.
    """

    def __init__(self, cause: str, place: str = "") -> None:
        self.cause = cause
        self.place = place
        super().__init__(f"{cause} ({place})" if place else cause)


class Unmet(Exception):
    """A step in which a check of values finds another answer than a graph takes for granted."""


class Disagreement(Exception):
    """A graph that computes something else than the eager program, on the same random numbers."""


def brief(error: BaseException) -> str:
    """Say in one line what an error is."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
