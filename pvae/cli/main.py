"""The entry point of the command line: parse, call, and report errors in one line.

Nothing slow is imported before `main` is entered, so that Ctrl-C ends it cleanly from the start.
"""

import codecs
import errno
import importlib.util
import inspect
import os
import re
import signal
import sys
import threading
import traceback
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from argparse import Action

    from jsonargparse import ArgumentParser, Namespace

from pvae import openmp
from pvae.annotations import KINDS

PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
TRUST_HELP = "Module of your own from which a run or configuration may load parts; repeatable."


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; a user error is reported in one line, with exit status 2.

    Ctrl-C exits with status 130, a closed pipe with 141, as shells do for these signals.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="pvae.plain")
    try:
        try:
            with _environment():
                _run(argv)
        finally:
            if sys.stdout is not None:  # None if it was closed
                sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _run(argv: list[str]) -> None:
    with _leaving_at_once():
        from jsonargparse import ArgumentError

        from pvae.cli.commands import COMMANDS
        from pvae.messages import brief, one_line
        from pvae.storage import trust

        commands = {command.__name__: command for command in COMMANDS}
        if not {"-h", "--help"} & set(argv):
            import torch  # noqa: F401  (the names of parts are resolved once it is imported)

        argv, trusted = _take_trust(argv)
    try:
        named = [*trusted, *_named(argv)]
        with trust.trusting(named), _finding(named):
            with _leaving_at_once():
                command, arguments = _parse(argv, commands, trusted)
            with openmp.considerate():
                command(**arguments)
    except ArgumentError as error:
        from pvae.cli.parser_errors import explain

        _fail(explain(error, argv, commands))
    except (OSError, KeyboardInterrupt):
        raise
    except MemoryError as error:
        _fail(f"The memory is not enough ({brief(error)}): ask for less at a time.")
    except (ValueError, TypeError, RuntimeError, FloatingPointError) as error:
        from pvae import memory
        from pvae.cli.parser_errors import as_options

        if memory.ran_out(error):
            _fail("The memory is not enough: ask for less at a time, or for smaller networks.")
        _fail(as_options(one_line(error), argv, commands))
    except Exception as error:
        # For example, a bug in a user's own part: the location helps more than the message.
        *_, (frame, line) = traceback.walk_tb(error.__traceback__)
        where = f"{frame.f_code.co_filename}:{line}"
        _fail(f"{type(error).__name__}: {brief(error)} ({where})")


def _parse(
    argv: list[str], commands: dict[str, Callable[..., None]], trusted: list[str]
) -> tuple[Callable[..., None], dict[str, Any]]:
    """Parse the command line to a command and its arguments."""
    _list_parts(argv)
    # The parser reads YAML, which writes null for the None of Python and our documentation.
    argv = [re.sub(r"^((?:--[\w.]+=)?)None$", r"\1null", argument) for argument in argv]
    if argv[:1] == ["compare"]:  # where an address is meant, not a learning-rate schedule
        argv = [*_with_cluster(argv)]
        _check_names(argv)
    used = {name for name in commands if name in argv}
    argv = [*_switched_on(argv, [commands[name] for name in used | {"train"}])]
    parsed = _parsed(make_parser(commands, used), argv)
    arguments = parsed[parsed.command].as_dict()
    empty = [option for option, value in arguments.items() if value == ""]
    if empty:
        raise ValueError(f"--{empty[0]} is empty: give it a value, or leave it out.")
    if parsed.command == "train" and arguments["resume"]:
        given = {a.partition("=")[0].partition(".")[0] for a in argv if a.startswith("--")}
        if {"--run", "--config"} & given:
            raise ValueError("--resume names the run to continue: leave --run and --config out.")
        from pvae.training import Run

        saved = Run(arguments["resume"]).config
        named = {k: v for k, v in arguments.items() if f"--{k}" in given}
        arguments = {k: saved[k] for k in arguments if k in saved} | named
    arguments.pop("config", None)
    arguments.pop("trust", None)  # it was taken before
    if parsed.command == "compare":
        _check_continued(argv, arguments)
        own = inspect.signature(commands["compare"]).parameters
        base = {k: arguments.pop(k) for k in [*arguments] if k not in own}
        arguments |= {"base": base, "trust": trusted}
    return commands[parsed.command], arguments


def _check_continued(argv: list[str], arguments: dict[str, Any]) -> None:
    """Raise if a study is continued, without saying what varies, with options that change it."""
    given = {a.partition("=")[0].partition(".")[0] for a in argv if a.startswith("--")}
    others = sorted(given - {"--study", "--jobs", "--cluster"})
    if arguments["vary"] is None and others:
        raise ValueError(
            f"{others[0]} without --vary: to continue a study give --study alone, with --jobs or "
            "--cluster; to start one, say what varies, such as --vary.prior '[StandardNormal, "
            "Flow]'."
        )


def _check_names(argv: list[str]) -> None:
    """Raise if two variants have the same name, of which the parser would drop the first."""
    from pvae.storage import configuration

    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        option, _, value = argument.partition("=")
        if option.startswith("--vary"):
            try:
                configuration.check_names(value or following)
            except ValueError as error:
                raise ValueError(f"{option} is not a set of variants: {error}.") from error


def _switched_on(argv: list[str], commands: list[Callable[..., None]]) -> Iterator[str]:
    """Arguments with --race, or another option of true or false that has no value, as --race=true.

    Args:
        argv: the arguments.
        commands: those whose options may be among them.
    """
    parameters = [p for each in commands for p in inspect.signature(each).parameters.values()]
    switches = {f"--{p.name}" for p in parameters if isinstance(p.default, bool)}
    for argument, following in zip(argv, [*argv[1:], "--"], strict=False):
        yield f"{argument}=true" if argument in switches and following[:1] == "-" else argument


def _with_cluster(argv: list[str]) -> Iterator[str]:
    """Arguments with --scheduler ADDRESS as --cluster ADDRESS."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        option, _, value = argument.partition("=")
        if option == "--scheduler" and "://" in (value or following):
            argument = argument.replace("--scheduler", "--cluster", 1)
        yield argument


def make_parser(
    commands: dict[str, Callable[..., None]], named: Collection[str]
) -> "ArgumentParser":
    """Make the parser of the command line from the signatures of the commands.

    Args:
        commands: all, by name.
        named: those that get their options, which take time to make.
    """
    from jsonargparse import ActionConfigFile, ArgumentParser

    import pvae
    from pvae.storage import configuration, trust

    class CheckedConfig(ActionConfigFile):
        """Check a configuration before the parser imports the classes that it names."""

        def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
            config = configuration.read(values)
            trust.check_configuration(config)
            # In the order of the file, which is that of the cells of a study.
            self.apply_config(parser, cfg, self.dest, configuration.as_yaml(config).decode())

    parser = ArgumentParser(
        prog="pvae",
        description=pvae.__doc__.splitlines()[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pvae {pvae.__version__}")
    subcommands = parser.add_subcommands(dest="command", required=True)
    for name, command in commands.items():
        summary = (command.__doc__ or name).splitlines()[0]
        subparser = ArgumentParser(exit_on_error=False, allow_abbrev=False, description=summary)
        if name in named:
            _add_options(subparser, name, commands, CheckedConfig)
        subcommands.add_subcommand(name, subparser, help=summary)
    return parser


def _add_options(
    parser: "ArgumentParser",
    name: str,
    commands: dict[str, Callable[..., None]],
    config: "type[Action]",
) -> None:
    """Add the options of a command to its parser."""
    from pvae.cli.compare import OF_EACH

    if name in ("train", "compare"):
        parser.add_argument("--config", action=config, help="YAML file of arguments.")
    if name == "compare":  # the base of its runs has the options of one
        parser.add_function_arguments(commands[name], skip={"base", "trust"})
        parser.add_function_arguments(commands["train"], skip={*OF_EACH})
    else:
        parser.add_function_arguments(commands[name], as_positional=True)
    parser.add_argument("--trust", type=str, help=TRUST_HELP)


def _take_trust(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split the arguments from the modules that --trust options name."""
    others, trusted = [], []
    arguments = iter(argv)
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option != "--trust":
            others.append(argument)
            continue
        value = value if equals else next(arguments, "")
        names = [name.strip(" \"'") for name in value.strip(" []").split(",")]
        if not all(names):
            _fail("--trust is empty: give it the name of a module, such as --trust my_module.")
        trusted += names
    return others, trusted


def _named(argv: Sequence[str]) -> list[str]:
    """The import paths of parts on the command line, which the user trusts by naming them."""
    named, part = [], False
    for argument in argv:
        option, _, value = argument.partition("=")
        if option.startswith("--"):
            part = option[2:].partition(".")[0] in {*KINDS, "vary"}
        else:
            value = argument
        if part and value:
            if os.path.isfile(value):  # jsonargparse would read the file
                raise ValueError(f"The part {value} is a file: give its content by --config.")
            named += PATH.findall(value)
    return named


@contextmanager
def _environment() -> Iterator[None]:
    """Set environment variables for a command and the processes that libraries start.

    Python in such processes does not import from the current folder (3.10 ignores this).
    """
    given = {"PYTHONSAFEPATH": "1"} | openmp.environment()
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _finding(named: Sequence[str]) -> Iterator[None]:
    """Let named modules be imported from the current folder, after all other places."""
    here = os.getcwd()
    tops = {name.partition(".")[0] for name in named}
    if all(importlib.util.find_spec(top) for top in tops):
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """While entered, Ctrl-C exits at once: there is nothing to undo yet.

    An exception during an import may be swallowed, or leave a library half initialized.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _list_parts(argv: list[str]) -> None:
    """List the parts for --prior.help and similar options, and exit."""
    for option, value in zip(argv, [*argv[1:], "-"], strict=False):
        name = option.removeprefix("--").removesuffix(".help")
        kind = KINDS.get(name)
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


def _parsed(parser: "ArgumentParser", argv: list[str]) -> "Namespace":
    """Parse arguments; unannotated parameters of the user's own parts take any value."""
    from jsonargparse import ArgumentError

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


def _fail(sentence: str) -> NoReturn:
    from pvae.messages import shorten

    with suppress(OSError):  # stderr may be closed
        print(shorten(f"pvae: error: {' '.join(sentence.split())}"), file=sys.stderr)
    sys.exit(2)


def _drop_output() -> None:
    """Discard unwritten output, so that Python does not fail to flush it on exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_PLAIN = {"−": "-", "±": "+/-", "×": "x", "…": "...", "≤": "<=", "≥": ">=", "–": "-", "—": "-"}


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that a terminal cannot encode: −ELBO by -ELBO, β by beta."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = ""
    for character in error.object[error.start : error.end]:
        name = unicodedata.name(character, "")
        if name.startswith("GREEK"):
            letter = name.split(" WITH ")[0].rpartition(" ")[2]
            text += letter.lower() if "SMALL" in name else letter.capitalize()
        else:
            text += _PLAIN.get(character) or ascii(character)[1:-1]
    return text, error.end


codecs.register_error("pvae.plain", _plain)
