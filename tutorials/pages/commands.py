"""The options of every command, from the parser."""

import argparse
from collections.abc import Iterator

from pvae.cli.commands import COMMANDS
from pvae.cli.main import make_parser


def pages() -> dict[str, str]:
    """A section for each command."""
    commands = {command.__name__: command for command in COMMANDS}
    parser = make_parser(commands, named=commands)
    (subcommands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    text = ""
    for command in COMMANDS:
        name = command.__name__
        subparser = subcommands._name_parser_map[name]
        text += f"\n## pvae {name}\n\n{subparser.description}\n\n"
        text += "\n".join(_options(subparser))
    return {"fragments/commands.md": text}


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A definition for each argument: its name, then its help and its default."""
    for action in parser._actions:
        name = ", ".join(action.option_strings) or action.dest.upper()
        if action.help == argparse.SUPPRESS or name.endswith("help"):
            continue  # the introduction names those for help
        default = "" if action.default in (None, argparse.SUPPRESS) else _shown(action.default)
        yield f"`{name}`\n: {(action.help or '').strip()}{default}\n"


def _shown(default: object) -> str:
    value = default.get("class_path", default) if isinstance(default, dict) else default
    word = str(value).rpartition(".")[2] if isinstance(default, dict) else str(value)
    return f" Default: `{word.lower() if isinstance(value, bool) else word}`."
