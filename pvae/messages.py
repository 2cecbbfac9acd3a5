"""Error messages: one sentence, on one line, of bounded length."""

import re

MOST = 300
"""Characters of a message on the command line, at the most."""


def one_line(error: object) -> str:
    """What an error says, on one line and without the C++ stack that torch may add.

    Example:
        >>> from pvae.messages import one_line
        >>> one_line(RuntimeError("[enforce fail at a.cpp:30] . no memory\\nframe #0: c10::Error"))
        'no memory'
    """
    text = str(error) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"there is no {error.args[0]!r}" if error.args else "a name is missing"
    text = re.split(r"\s*(?:frame #\d|Exception raised from|C\+\+ CapturedTraceback)", text)[0]
    text = re.sub(r"^\[enforce fail at [^\]]*\][ .:]*", "", text)
    return " ".join(text.split())


def brief(error: object, most: int = 120) -> str:
    """What an error of another library says, to be quoted within a sentence of ours."""
    return shorten(one_line(error).rstrip(".").replace(". ", "; "), most)


def shorten(text: str, most: int = MOST) -> str:
    """Cut the middle out of a text that is too long, for its end says what to do.

    Example:
        >>> from pvae.messages import shorten
        >>> shorten("a" * 50 + "b" * 50, 21)
        'aaaaaaaa ... bbbbbbbb'
    """
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[: most - 5 - half]} ... {text[-half:]}"
