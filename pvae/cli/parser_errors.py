"""Error messages in terms of the command line, for errors of the parser and of the package."""

import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pvae.annotations import KINDS
from pvae.cli.compare import OF_EACH

# Arguments of parts that pvae gives them itself.
GIVEN = {"self", "latent_dim", "event_shape", "in_shape", "out_shape", "params", "optimizer"}
MOST_LISTED = 200  # characters of a list of names
_CHOICE = re.compile(r"(?:typing\.)?Literal\[(.*)\]")
_WORDS = {
    "int": ["a whole number"],
    "float": ["a number"],
    "bool": ["true", "false"],
    "str": ["a text"],
    "NoneType": ["null"],
}
_PARTIAL = r"(?:functools\.)?partial\([\w.]*?(\w+)((?:, \w+=[^,)]+)*)\)"
_VALUE = r"\[[^\]]*\]|\([^)]*\)|'[^']*'|[\w.+-]*\w"

Commands = Mapping[str, Callable[..., None]]


# Errors of the parser -----------------------------------------------------------------------------


def explain(error: object, argv: Sequence[str], commands: Commands) -> str:
    """Explain an error of the parser in one sentence that says what to do.

    Args:
        error: the error that the parser raised.
        argv: the arguments on the command line.
        commands: the commands by their names.
    """
    text = re.sub(r"<class '([\w.]+)'>", r"\1", " ".join(str(error).split()))
    command = next((a for a in argv if a in commands), None)
    if found := re.search(r"invalid choice: '(.*?)' \(choose from", text):
        return f"There is no command {found[1]!r}{_nearest(found[1], commands)}: {_all(commands)}"
    if '"command"' in text:
        return f"A command is missing: {_all(commands)}"
    if found := re.fullmatch(r"unrecognized arguments: (.*)", text):
        return _unrecognized(found[1].split()[0], command, commands)
    if found := re.fullmatch(r"argument (\S+): expected (?:one|at least one) argument", text):
        return f"{found[1]} needs a value after it."
    if found := re.fullmatch(r"the following arguments are required: (?:\w+\.)?(\w+)", text):
        if command == "compare":
            return "pvae compare needs a study folder, new or one to continue: --study NAME."
        what = found[1] if found[1] == "table" else f"{found[1]} folder"
        return f"pvae {command} needs the {what}: pvae {command} {found[1].upper()}."
    if found := re.fullmatch(r"--([\w.]+)\.help: .*?([\w.]+)", text):
        return _no_part(found[1], found[2])
    if found := re.fullmatch(r"Subcommand '(\w+)' does not accept option '([\w.]+)'", text):
        name = found[2].partition(".")[0]
        near = _nearest(name, _options(found[1], commands))
        return (
            f"The configuration has an entry {name}, which is no option of pvae {found[1]}{near}: "
            f"pvae {found[1]} --help lists the options."
        )
    if text.startswith("Parser key ") and command is not None:
        return _refused_value(text, argv, commands[command])
    return text


def _options(command: str, commands: Commands) -> list[str]:
    """The options of a command: those of compare are also what all its runs share."""
    names = [*inspect.signature(commands[command]).parameters]
    if command == "compare":
        names += [n for n in inspect.signature(commands["train"]).parameters if n not in OF_EACH]
        names.remove("base")  # they are the base
    return names


def _all(commands: Commands) -> str:
    return f"choose {', '.join(commands)}; pvae --help says what they do."


def _nearest(name: str, known: Iterable[str], before: str = "") -> str:
    """Suggest the nearest known name, or return nothing."""
    folded = {each.lower().replace("-", "_"): each for each in known}
    found = difflib.get_close_matches(name.lower().replace("-", "_"), folded, 1, 0.62)
    return f" (did you mean {before}{folded[found[0]]}?)" if found else ""


def _unrecognized(token: str, command: str | None, commands: Commands) -> str:
    if command is None:
        return f"There is no option {token}: pvae --help lists what there is."
    parameters = inspect.signature(commands[command]).parameters
    known = [*_options(command, commands), "trust"]
    known += ["config", "print_config"] if command in ("train", "compare") else []
    typed = token.partition("=")[0]
    name = typed.lstrip("-")
    if not token.startswith("-"):
        data = f"; data are named by --data {token}" if command == "train" else ""
        return f"pvae {command} takes no further argument {token!r}: options begin with --{data}."
    if name in parameters:  # a positional argument
        return f"The {name} folder is given without an option: pvae {command} {name.upper()}."
    return (
        f"pvae {command} has no option {typed}{_nearest(name, known, '--')}: pvae "
        f"{command} --help lists the options."
    )


def _refused_value(text: str, argv: Sequence[str], command: Callable[..., None]) -> str:
    """Explain a rejected value or option."""
    keys: list[str] = []
    classes: list[str] = []
    while found := re.search(r'Parser key "([\w.]+)": ', text):
        keys.append(found[1])
        # Of alternatives, the first is what the option is for; the others are null.
        before, text = text[: found.start()], text[found.end() :]
        classes = re.findall(r"class_path '([\w.]+)'", before)
    key = ".".join(keys)
    kind = _kind(key)
    classes += re.findall(r"class_path[= ]'([\w.]+)'", text)
    if found := re.search(r"Option '([\w.]+)' is not accepted", text):
        return _no_option(key, found[1], classes)
    if found := re.search(r"the following arguments are required: ([\w, ]+)", text):
        needed = " and ".join(f"--{key}.{name}" for name in found[1].split(", "))
        return f"--{key} {classes[-1].rpartition('.')[2]} needs {needed} as well."
    quoted = r"(?:Given value: |Got value: |import path string: )(.*?)(?:\. Got value|$)"
    given = re.search(quoted, text)
    value = _given(key, argv) or (given[1] if given else "")
    if kind is not None:
        missing = re.search(r"No module named '([\w.]+)'", text)
        return _no_part(key, value, missing and missing[1])
    subtypes = re.search(r"Subtypes: \[(.*?)\] Errors:", text)
    expected = re.search(r"Expected an? (.*?)(?:\. Got value|$)", text)
    types = subtypes[1] if subtypes else expected[1] if expected else ""
    if key == "vary":
        return "--vary needs the name of an option, such as --vary.prior '[StandardNormal, Flow]'."
    if not types:
        return f"--{key}: {text}"
    of = inspect.signature(command).parameters.get(key)
    names = [t for t in _split(types) if t != "NoneType" or of is None or of.default is not None]
    return _not_of_type(key, value, names)


def _given(key: str, argv: Sequence[str]) -> str | None:
    """The value of an option as typed last, which is the one that counts."""
    given = None
    for argument, following in zip(argv, [*argv[1:], None], strict=True):
        option, equals, value = argument.partition("=")
        if option == f"--{key}":
            given = value if equals else following
    return given


def _not_of_type(key: str, value: str, types: Sequence[str]) -> str:
    """Explain that a value has none of the expected types."""
    words, choices, lists = [], [], []
    for each in types:
        if choice := _CHOICE.fullmatch(each):
            choices += [name.strip("'\"") for name in choice[1].split(",")]
        elif re.match(r"(?:collections\.abc\.)?(?:tuple|list|Sequence)", each):
            two, text = each == "tuple[int,int]" or "2 elements" in each, "str" in each
            lists.append("[a,b]" if text else "[28,20]" if two else "[8,4]")
        else:
            words += _WORDS.get(each, [])
    words += choices + [f"a list such as {example}" for example in lists]
    said = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)
    if value.startswith("[") and not lists:
        return f"--{key} is {value}: each of its values must be {said}."
    bare = lists and "[" not in value
    if bare and ("," in value or "[a,b]" in lists or len(types) == 1):
        said += f"; write --{key} [{value}]"
    given = value if value.strip() else repr(value)
    return f"--{key} is {given}{_nearest(value, choices)}: it must be {said}."


def _split(types: str) -> list[str]:
    """Names of types that commas separate outside of brackets."""
    nested = r"\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\]"
    return re.findall(rf"(?:[^,\[\]]|{nested})+", types.replace(", ", ","))


# Parts --------------------------------------------------------------------------------------------


def _kind(key: str) -> type[Any] | None:
    """The kind of part that an option chooses, if it chooses one."""
    return KINDS.get(key) or KINDS.get(key.rpartition(".")[2])


def _no_part(key: str, value: str, missing: str | None = None) -> str:
    """Explain that a part does not exist."""
    kind = _kind(key)
    known = sorted(c.__name__ for c in kind.__subclasses__()) if kind else []
    listed = ", ".join(known)
    if len(listed) > MOST_LISTED:
        listed = f"what pvae train --{key}.help lists"
    own = "the import path of a class of your own"
    if missing:
        return (
            f"--{key} {value}: there is no module {missing}; give {own}, in this folder or on "
            "PYTHONPATH."
        )
    name = value.rpartition(".")[2]
    return f"--{key}: there is no {value}{_nearest(name, known)}; choose {listed}, or {own}."


def _no_option(key: str, option: str, classes: Sequence[str]) -> str:
    """Explain that a part does not have an option."""
    kind = _kind(key)
    path = classes[-1] if classes else ""
    known = _parameters(_imported(path))
    said = f"--{key} {path.rpartition('.')[2]} has no option --{key}.{option}"
    if nearest := _nearest(option, known, f"--{key}."):
        return f"{said}{nearest}."
    others = [c.__name__ for c in kind.__subclasses__() if option in _parameters(c)] if kind else []
    if others:
        return f"{said}; {', '.join(sorted(others))} has it: choose by --{key}."
    listed = ", ".join(f"--{key}.{name}" for name in known) or "none"
    if len(listed) > MOST_LISTED:
        return f"{said}: pvae train --{key}.help {path} lists the options."
    return f"{said}; its options: {listed}."


def _imported(path: str) -> Any:
    """The object that the parser imported by a path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name) if module else None


def _parameters(part: Any) -> list[str]:
    """The options of a part."""
    if part is None:
        return []
    parameters = inspect.signature(part).parameters.values()
    return [p.name for p in parameters if p.name not in GIVEN and p.kind != p.VAR_KEYWORD]


# Errors of the package ----------------------------------------------------------------------------


def as_options(sentence: str, argv: Sequence[str], commands: Commands) -> str:
    """Rewrite Python arguments in an error message of the package as options.

    Args:
        sentence: such as "use device='cpu'".
        argv: the arguments on the command line.
        commands: the commands by their names.

    Example:
        >>> from pvae.cli.commands import train
        >>> as_options("use device='cpu' or None", ["train"], {"train": train})
        'use --device cpu or null'
    """
    command = next((a for a in argv if a in commands), "train")
    options = {name: f"--{name}" for name in _options(command, commands)}
    for argument in argv:
        given = argument.partition("=")[0]
        # What varies names the cells of a study, which stay as they are.
        if given.startswith("--") and "." in given and not given.startswith("--vary."):
            options.setdefault(given.rpartition(".")[2], given)

    def partial(found: re.Match) -> str:
        given = re.findall(r"(\w+)=([^,]+)", found[2])
        named = (key for key in KINDS if found[1] in {c.__name__ for c in _known(key)})
        key = next(named, "")
        return " ".join([f"--{key} {found[1]}", *(f"--{key}.{n} {v}" for n, v in given)])

    def option(found: re.Match) -> str:
        name, value = found[1], found[2] or ""
        written = options.get(name) or _of_parts(name)
        if written is None:
            return found[0]
        value = value.strip("'")
        return f"{written} {_yaml(value)}" if value else written

    sentence = re.sub(_PARTIAL, partial, sentence)
    # Not within quotes: the name of a cell, such as 'latent_dim=2', stays as it is.
    quoted = r"(?<![\w=])'[^']*=[^']*'"
    sentence = re.sub(
        rf"{quoted}|(?<![\w.-])(?<!\w\()(\w+)=(?!=)({_VALUE})?",
        lambda found: option(found) if found[1] else found[0],
        sentence,
    )
    first = re.match(r"(\w+) (?:is|does|must|needs) ", sentence)
    if first and first[1] in options:
        sentence = f"{options[first[1]]}{sentence[len(first[1]) :]}"
    return re.sub(r"(?<![\w./'\"-])None(?![\w/'\"-]|\.\w)", "null", sentence)


def _known(key: str) -> list[type]:
    """The parts of a kind that options accept by short name."""
    kind = _kind(key)
    return [] if kind is None else kind.__subclasses__()


def _of_parts(name: str) -> str | None:
    """The full option of that name, if parts of only one kind have it."""
    keys = [key for key in KINDS if any(name in _parameters(part) for part in _known(key))]
    return f"--{keys[0]}.{name}" if len(keys) == 1 else None


def _yaml(value: str) -> str:
    """Convert a Python value to the form that options take."""
    return {"True": "true", "False": "false", "None": "null"}.get(value, value.replace(", ", ","))
