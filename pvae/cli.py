"""The command line: parse, call, and say in one line what was wrong."""

import re
import sys
from collections.abc import Callable, Sequence
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
    config = parser.parse_args(argv)
    chosen: Namespace = config[config.command]
    if config.command == "train" and chosen.resume and "--config" not in argv:
        from pvae.inference import Run

        saved = Run(chosen.resume).path / "config.yaml"
        return _parse(["train", "--config", str(saved), *argv[argv.index("train") + 1 :]])
    arguments = chosen.as_dict()
    arguments.pop("config", None)
    return commands[config.command], arguments


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
    reason = re.sub(r"[. ]+Got value: Namespace\(.*", "", reason)
    reason = re.sub(r"Expected an? (.*?)[. ]+Got value: (.*)", r"expected \1, got \2", reason)
    reason = re.sub(r"[. ]+Got value: .*", "", reason)
    reason = reason.replace("typing.", "").replace("collections.abc.", "")
    kind = getattr(kinds, key.rpartition(".")[2].capitalize(), None)
    if kind and ("Option" not in reason and "Parser key" not in reason):
        known = sorted(c.__name__ for c in kind.__subclasses__())
        reason += f"; choose {', '.join(known)}, or the import path of a class of your own"
    return f"--{key}: {reason}"


def _fail(sentence: str) -> None:
    print(f"pvae: error: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(2)
