"""Error messages: one sentence, on one line, of bounded length."""

import difflib
import re
from collections.abc import Iterable

MOST = 300
"""Characters of a message on the command line, at the most."""
_MOST_NAMES = 150  # characters of a list of names


def one_line(error: object) -> str:
    """The message of an error, on one line and without the C++ stack that torch may add.

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
    """The message of another library's error, shortened to be quoted in a sentence."""
    return shorten(one_line(error).rstrip(".").replace(". ", "; "), most)


def ended(text: str) -> str:
    """A sentence with its full stop, unless it is a question such as `choices` asks.

    Example:
        >>> from pvae.messages import ended
        >>> ended("it is missing"), ended("did you mean prior?")
        ('it is missing.', 'did you mean prior?')
    """
    return text if text.endswith("?") else f"{text}."


def shorten(text: str, most: int = MOST) -> str:
    """Cut the middle out of a text that is too long, since its end says what to do.

    Example:
        >>> from pvae.messages import shorten
        >>> shorten("a" * 50 + "b" * 50, 21)
        'aaaaaaaa ... bbbbbbbb'
    """
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[: most - 5 - half]} ... {text[-half:]}"


def choices(name: str, known: Iterable[str]) -> str:
    """The end of a message that a name is not one of these: the nearest one, or what there is.

    Example:
        >>> from pvae.messages import choices
        >>> choices("priro", ["prior", "posterior"]), choices("x", ["prior", "posterior"])
        ('did you mean prior?', 'choose from prior, posterior.')
    """
    known = [*known]
    near = difflib.get_close_matches(name, known, 1, 0.4)
    if near:
        return f"did you mean {shorten(near[0], _MOST_NAMES)}?"
    return f"choose from {shorten(', '.join(known), _MOST_NAMES)}."


def kind_of(value: object) -> str:
    """The kind of a value, in a few words.

    Example:
        >>> from pvae.messages import kind_of
        >>> kind_of(dict), kind_of({})
        ('the class dict', 'an object of type dict')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    return "None" if value is None else f"an object of type {type(value).__name__}"


def shown(value: object) -> str:
    """A value as Python writes it, or its kind where that is long.

    Example:
        >>> from pvae.messages import shown
        >>> shown(0.5), shown(list(range(100)))
        ('0.5', 'an object of type list')
    """
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return kind_of(value)
    plain = len(text) <= 60 and "\n" not in text and not hasattr(value, "shape")
    return text if plain else kind_of(value)
