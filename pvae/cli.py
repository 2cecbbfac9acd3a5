"""The command line: parse, call, and say in one line what was wrong."""

import re
import sys
from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

import pvae
from pvae import kinds
from pvae.commands import COMMANDS, train


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; a mistake of the user's is one line and exit status 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    sys.path.insert(0, "")  # a part of the user's own is found where the command is called
    if not {"-h", "--help"} & set(argv):
        import torch  # noqa: F401  (the names of parts are looked up once it is there)
    try:
        command, arguments = _parse(argv)
        command(**arguments)
    except ArgumentError as error:
        _fail(_one_line(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}")
    except (ValueError, TypeError, RuntimeError, FloatingPointError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _parse(argv: list[str]) -> tuple[Callable[..., None], dict[str, Any]]:
    parser = ArgumentParser(
        prog="pvae", description=pvae.__doc__.splitlines()[0], exit_on_error=False
    )
    parser.add_argument("--version", action="version", version=f"pvae {pvae.__version__}")
    subcommands = parser.add_subcommands(dest="command", required=True)
    commands = {command.__name__: command for command in COMMANDS}
    for name, command in commands.items():
        summary = command.__doc__.splitlines()[0]
        subparser = ArgumentParser(exit_on_error=False, description=summary)
        if command is train:
            subparser.add_argument("--config", action="config", help="YAML file of arguments.")
        subparser.add_function_arguments(command, as_positional=True)
        subcommands.add_subcommand(name, subparser, help=summary)
    _list_parts(argv)
    config = _parsed(parser, argv)
    chosen: Namespace = config[config.command]
    if config.command == "train" and chosen.resume and "--config" not in argv:
        from pvae.inference import Run

        saved = Run(chosen.resume).path / "config.yaml"
        return _parse(["train", "--config", str(saved), *argv[argv.index("train") + 1 :]])
    arguments = chosen.as_dict()
    arguments.pop("config", None)
    return commands[config.command], arguments


def _list_parts(argv: list[str]) -> None:
    """For --prior.help and its like alone, print what there is, and exit."""
    for option, value in zip(argv, [*argv[1:], "-"], strict=False):
        name = option.removeprefix("--").removesuffix(".help")
        kind = getattr(kinds, name.capitalize(), None)
        if option != f"--{name}.help" or kind is None or not value.startswith("-"):
            continue
        known = sorted(kind.__subclasses__(), key=lambda c: c.__name__)
        print(f"--{name} is one of these, or the import path of a class of your own:\n")
        width = max(len(c.__name__) for c in known)
        for c in known:
            summary = (c.__doc__ or "").strip().split("\n\n")[0]
            print(f"  {c.__name__:<{width}}  {shorten(summary, 96 - width, placeholder=' ...')}")
        print(f"\nThe options of one of them: pvae train --{name}.help {known[0].__name__}")
        sys.exit(0)


def _parsed(parser: ArgumentParser, argv: list[str]) -> Namespace:
    """Parse; parameters of the user's own parts that have no annotation take any value."""
    while True:
        try:
            return parser.parse_args(argv)
        except (ArgumentError, ValueError) as error:
            untyped = re.search(r"'(\w+)' from '([\w.]+)\.__init__' does not specify", str(error))
            if not untyped:
                raise
            name, path = untyped.groups()
            module, _, cls = path.rpartition(".")
            annotations = getattr(sys.modules[module], cls).__init__.__annotations__
            if name in annotations:
                raise
            annotations[name] = Any


def _one_line(error: ArgumentError) -> str:
    """Say what jsonargparse found in one sentence, with what could have been given instead."""
    text = re.sub(r"<class '([\w.]+)'>", r"\1", " ".join(str(error).split()))
    found = re.match(r'Parser key "([\w.]+)": (.*)', text)
    if not found:
        return text
    key, reason = found.groups()
    reason = re.sub(r"^Type .*? expects a function or a callable class: ", "", reason)
    reason = re.sub(
        r"^Does not validate .*? Errors: - (.*?)(?: - Expected a NoneType)? Given value type: .*"
        r" Given value: (.*)",
        r"\1. Got value: \2",
        reason,
    ).replace(" - Expected a ", " or ")
    reason = re.sub(r"Expected a dot import path string: ([^. ]+).*", r"there is no \1", reason)
    reason = re.sub(
        r"the following arguments are required: (\w+)", rf"it needs --{key}.\1 as well", reason
    )
    reason = re.sub(r"[. ]+Got value: Namespace\(.*", "", reason)
    reason = re.sub(r"Expected an? (.*?)[. ]+Got value: (.*)", r"expected \1, got \2", reason)
    reason = re.sub(r"[. ]+Got value: .*", "", reason)
    reason = reason.replace("typing.", "").replace("collections.abc.", "")
    kind = getattr(kinds, key.rpartition(".")[2].capitalize(), None)
    if kind and not re.search("it needs|Option|Parser key", reason):
        known = sorted(c.__name__ for c in kind.__subclasses__())
        reason += f"; choose {', '.join(known)}, or the import path of a class of your own"
    return f"--{key}: {reason}"


def _fail(sentence: str) -> None:
    print(f"pvae: error: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(2)
