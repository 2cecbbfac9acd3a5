"""Damaged and forged run folders: loaded, checked, evaluated and resumed."""

import hashlib
import io
import json
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

import pvae
from pvae.cli import film, gallery
from pvae.storage import tensors
from pvae.training import records
from results.reliability.watch import (
    CANARY,
    SECONDS,
    Outcome,
    Refused,
    attempt,
    command,
    working_in,
)

QUICK = "--latent_dim 2 --epochs 2 --compile false --device cpu --network.hidden [8]"
RUNS = {
    "plain": QUICK,
    "conditional": f"{QUICK} --conditional true --likelihood Gaussian",
    "rich": f"{QUICK} --prior VampPrior --prior.components 5 --objective BetaELBO "
    "--objective.beta 0.5 --optimizer AdamW --scheduler StepLR --scheduler.step_size 1 "
    "--clip_norm 5 --binarization static",
}
OTHER = f"{QUICK} --seed 1"  # another run of the parts of plain

WEIGHTS = ("weights.safetensors", "last.safetensors", "snapshots/step-0000001.safetensors")
BINARY = (*WEIGHTS, "state.pt")
TEXTS = ("config.yaml", "run.json", "metrics.jsonl")

Damage = Callable[[random.Random, Path], None]


class Folders:
    """The campaign: one damaged folder, read in every way.

    Args:
        names: the runs that are damaged, by default all.
    """

    name = "folders"
    count = 1000
    each = 1

    def __init__(self, *names: str) -> None:
        self.runs = {name: RUNS[name] for name in names or RUNS}

    def prepare(self, folder: Path) -> None:
        """Train the runs, and keep what reading gives without damage."""
        gallery.plot = film.plot = lambda *_, **__: []  # pictures only take time
        self.base = folder
        self.expected = {}
        for name, options in (self.runs | {"other": OTHER}).items():
            (folder / name).mkdir()
            with working_in(folder / name):
                command("train", *options.split(), "--run", "run")
            if name == "other":
                continue
            spare = folder / f"{name} read"
            shutil.copytree(folder / name, spare)
            with working_in(spare):
                self.expected[name] = {reader: call() for reader, call in READERS.items()}

    def attack(self, number: int, folder: Path) -> tuple[str, Outcome]:
        """Damage one folder and read it in every way; the first failure is the outcome.

        In half of them the checksums are computed again, as a forger would.
        """
        rng = random.Random(number)
        damage = DAMAGES[number % len(DAMAGES)]
        base = rng.choice(list(self.runs))
        shutil.copytree(self.base / base, folder, dirs_exist_ok=True)
        shutil.copytree(self.base / "other" / "run", folder / "other")
        damage(rng, folder)
        forged = rng.random() < 0.5 and _forge(folder / "run")
        found = []
        readers = IN_NEW_PROCESS if damage is modules_in_place else READERS
        for reader, call in readers.items():
            before = _tree(folder / "run")
            outcome = attempt(call, folder, 120 if readers is IN_NEW_PROCESS else SECONDS)
            if outcome.kind == "refused" and _tree(folder / "run") != before:
                outcome.kind = "changed a folder that it refused"
            expected = self.expected[base].get(reader, outcome.said)
            if outcome.kind == "returned" and outcome.said != expected:
                # Checksums detect damage, not who wrote a folder: it is what the forger meant.
                outcome.kind = "returned what was forged" if forged else "silently different"
            found.append((reader, outcome))
        worst = max(found, key=lambda f: (not f[1].held, f[1].kind == "refused", f[1].kind))
        worst[1].said = f"{worst[0]}: {worst[1].said}"
        return f"{damage.__name__}, {base}{', forged' * forged}", worst[1]


# What reads a run folder --------------------------------------------------------------------------


def load() -> str:
    """Load the model."""
    return _digest(pvae.load("run").state_dict())


def check() -> Any:
    """Check the folder, and read configuration, history and names."""
    run = pvae.training.Run("run")
    run.check()
    # The data may have moved; they are compared when they are loaded.
    config = {k: v for k, v in run.config.items() if k not in ("data", "labels", "root")}
    _ = run.snapshots  # some may have been removed
    return _hash(repr((config, run.history.rows)).encode())


def evaluate() -> str:
    """Evaluate by command."""
    return command("evaluate", "run", "--estimator", "elbo", "--device", "cpu")


def resume() -> str:
    """Resume by command, for one more epoch."""
    command("train", "--resume", "run", "--epochs", "3")
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    figures = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return _digest(load_file("run/last.safetensors")) + _hash(repr(figures).encode())


READERS = {"load": load, "check": check, "evaluate": evaluate, "resume": resume}


def _in_new_process(*argv: str) -> None:
    """Run a command in a fresh interpreter, as its script would."""
    Path("pvae-script").write_text(SCRIPT)
    interpreter = [sys.executable, "pvae-script", *argv]
    done = subprocess.run(interpreter, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr.strip())


# The script that pip installs, outside the current folder.
SCRIPT = f"import sys\nsys.path[:1] = [{str(Path(pvae.__file__).parents[1])!r}]\n"
SCRIPT += "from pvae.cli.main import main\nmain()\n"
IN_NEW_PROCESS = {
    "evaluate in a new process": partial(_in_new_process, "evaluate", "run", "--estimator", "elbo"),
    "resume in a new process": partial(
        _in_new_process, "train", "--resume", "run", "--epochs", "3"
    ),
}


# Damage to any file -------------------------------------------------------------------------------


def _file(rng: random.Random, folder: Path) -> Path:
    return folder / "run" / rng.choice(BINARY + TEXTS)


def flip_a_bit(rng: random.Random, folder: Path) -> None:
    """One bit, as a bad disk does."""
    file = _file(rng, folder)
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def flip_many_bits(rng: random.Random, folder: Path) -> None:
    """Many bits."""
    file = _file(rng, folder)
    content = bytearray(file.read_bytes())
    for _ in range(rng.randrange(2, 200)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def truncate(rng: random.Random, folder: Path) -> None:
    """Cut a file, as an interrupted copy does."""
    file = _file(rng, folder)
    file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])


def lengthen(rng: random.Random, folder: Path) -> None:
    """Append random bytes."""
    file = _file(rng, folder)
    file.write_bytes(file.read_bytes() + rng.randbytes(rng.randrange(1, 1000)))


def blank(rng: random.Random, folder: Path) -> None:
    """Zeros where a block was lost."""
    file = _file(rng, folder)
    content = file.read_bytes()
    start = rng.randrange(len(content))
    lost = content[start : start + rng.randrange(1, 4096)]
    file.write_bytes(content[:start] + bytes(len(lost)) + content[start + len(lost) :])


def junk(rng: random.Random, folder: Path) -> None:
    """Replace the content by random bytes."""
    _file(rng, folder).write_bytes(rng.randbytes(rng.choice((0, 1, 7, 8, 9, 100, 100_000))))


def remove(rng: random.Random, folder: Path) -> None:
    """Remove a file."""
    _file(rng, folder).unlink()


def directory_in_place(rng: random.Random, folder: Path) -> None:
    """A folder where a file was."""
    file = _file(rng, folder)
    file.unlink()
    file.mkdir()


def link_in_place(rng: random.Random, folder: Path) -> None:
    """A link to itself, to nothing, to an endless device, or to a file outside the run."""
    file = _file(rng, folder)
    file.unlink()
    file.symlink_to(rng.choice((file.name, "nowhere", "/dev/zero", "/dev/urandom", "/etc/passwd")))


def pipe_in_place(rng: random.Random, folder: Path) -> None:
    """A pipe, which blocks on opening."""
    file = _file(rng, folder)
    file.unlink()
    os.mkfifo(file)


def swap_two(rng: random.Random, folder: Path) -> None:
    """Swap two files of one run."""
    one, other = (folder / "run" / name for name in rng.sample(BINARY + TEXTS, 2))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def of_another_run(rng: random.Random, folder: Path) -> None:
    """A file of another run."""
    file = _file(rng, folder)
    shutil.copy(folder / "other" / file.relative_to(folder / "run"), file)


def pickle_in_place(rng: random.Random, folder: Path) -> None:
    """A pickle that runs code when it is read, bare or as torch.save writes it."""
    file = _file(rng, folder)
    content = io.BytesIO()
    rng.choice((pickle.dump, torch.save))(_Evil(folder), content)
    file.write_bytes(content.getvalue())


class _Evil:
    def __init__(self, folder: Path) -> None:
        self.canary = str(folder / CANARY)

    def __reduce__(self) -> tuple:
        return open, (self.canary, "w")


# Tensors ------------------------------------------------------------------------------------------


def change_tensors(rng: random.Random, folder: Path) -> None:
    """Valid safetensors with another dtype, shape, name or value."""
    file = folder / "run" / rng.choice(WEIGHTS)
    tensors = load_file(file)
    name = rng.choice([n for n, w in tensors.items() if w.is_floating_point()])
    w = tensors.pop(name)
    changes = (
        lambda: {name: w.double()},
        lambda: {name: w.half()},
        lambda: {name: w.int()},
        lambda: {name: w[None]},
        lambda: {name: w.flatten()[:-1].clone()},
        lambda: {name: torch.full_like(w, rng.choice((torch.nan, torch.inf, 1e38)))},
        lambda: {name: w + 1e-3},
        lambda: {},
        lambda: {f"{name}2": w},
        lambda: {name: w, "more": torch.zeros(3)},
        lambda: {name: w, "x" * 100_000: torch.zeros(1)},
    )
    save_file(tensors | rng.choice(changes)(), file)


def lying_header(rng: random.Random, folder: Path) -> None:
    """Safetensors whose header claims more than there is."""
    claim = rng.choice((2**63, 2**40, 2**64 - 1, 10**8, 0))
    header = rng.choice((b"", b"{}", b'{"a":{"dtype":"F32","shape":[1e9],"data_offsets":[0,4]}}'))
    huge = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    content = rng.choice((struct.pack("<Q", claim) + header, struct.pack("<Q", len(huge)) + huge))
    (folder / "run" / rng.choice(WEIGHTS)).write_bytes(content)


def change_state(rng: random.Random, folder: Path) -> None:
    """A valid checkpoint with one entry removed, or of another type."""
    file = folder / "run" / "state.pt"
    state = torch.load(file, weights_only=True)
    holder, key = rng.choice(_places(state))
    if rng.random() < 0.3:
        del holder[key]
    else:
        holder[key] = rng.choice((*ODD, torch.zeros(2, 3), torch.tensor(torch.nan)))
    torch.save(state, file)


# Text ---------------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    None,
    "",
    "text",
    [],
    {},
    -1,
    0,
    0.5,
    True,
    float("nan"),
    float("inf"),
    10**9,
    2**64 - 1,
    10**400,
    -(10**30),
    [1] * 1000,
    {"a": {"b": []}},
    "x" * 100_000,
    "../" * 50,
    "\x00\x1b[31m",
)


def change_lines(rng: random.Random, folder: Path) -> None:
    """A line that is missing, repeated, moved or replaced."""
    file = folder / "run" / rng.choice(TEXTS)
    lines = file.read_bytes().splitlines(keepends=True)
    at = rng.randrange(len(lines))
    line = lines.pop(at)
    odd = (b"\xff\xfe\n", b"\x00" * 10, b"\xef\xbb\xbf", b"\t- ]\n", b"NaN\n", b"{" * 10_000)
    at, other = rng.choice((at, rng.randrange(len(lines) + 1))), rng.choice(odd)
    lines[at:at] = rng.choice(([], [line, line], [line], [other], [line, other]))
    file.write_bytes(b"".join(lines))


def odd_value(rng: random.Random, folder: Path) -> None:
    """A value of another type, or a missing entry, in a text file."""
    name = rng.choice(TEXTS)
    file = folder / "run" / name
    content = _parse(name, file.read_text())
    holder, key = rng.choice(_places(content))
    if rng.random() < 0.25:
        del holder[key]
    else:
        holder[key] = rng.choice(ODD)
    file.write_text(_write(name, content))


def more_entries(rng: random.Random, folder: Path) -> None:
    """An unknown entry."""
    name = rng.choice(("config.yaml", "run.json"))
    file = folder / "run" / name
    content = _parse(name, file.read_text())
    content[rng.choice(("more", "run", "resume", "labels", "self", "__class__", "classes"))] = (
        rng.choice(ODD)
    )
    file.write_text(_write(name, content))


def bomb(rng: random.Random, folder: Path) -> None:
    """Text that grows, nests, or never ends."""
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else '1'}]" for i in range(12)]
    bombs = (
        "\n".join(lines),
        "[" * 100_000,
        "{" * 100_000,
        '{"a":' * 100_000,
        "a: " + "[1, " * 3_000,
        "- " * 50_000 + "1",
        "a: " + "x" * 30_000_000,
        "[" + "1," * 5_000_000 + "1]",
        "1" * 1_000_000,
        "\n".join(f"key{i}: value" for i in range(300_000)),
        "a: &a [*a]",
        "<<: &a {<<: *a}",
    )
    name = rng.choice(TEXTS)
    file = folder / "run" / name
    before = file.read_text() if rng.random() < 0.5 else ""
    file.write_text(f"{before}{rng.choice(bombs)}\n")


def foreign_class(rng: random.Random, folder: Path) -> None:
    """A class path of code that is not a part, or that lies next to the run or in it."""
    evil = f"open({str(folder / CANARY)!r}, 'w')\nimport torch\nclass X(torch.nn.Module): pass\n"
    for place in (folder, folder / "run"):
        (place / "evil_module.py").write_text(evil)
    paths = (
        "evil_module.X",
        "run.evil_module.X",
        "run.evil_module.X.y",
        "..evil_module.X",
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "builtins.open",
        "this.s",
        "antigravity.fly",
        "pvae.load",
        "pvae.cli.main",
        "pvae.cli.main.sys.modules",
        "pvae.cli.commands.COMMANDS",
        "pvae.factories.importlib.import_module",
        "torch.load",
        "torch.hub.load",
        "torch.nn.Module",
        "torch.utils.cpp_extension.load",
        "pyro.infer.SVI",
        "pvae.priors.no_such.Thing",
        "pvae.priors.",
        "pvae..priors.Normal",
        ".",
        "",
        "x" * 10_000,
    )
    part = {"class_path": rng.choice(paths)}
    if rng.random() < 0.5:
        part["init_args"] = rng.choice(({"args": f"touch {CANARY}"}, {"a": part["class_path"]}, 5))
    name = rng.choice(("config.yaml", "config.yaml", "run.json"))
    file = folder / "run" / name
    content = _parse(name, file.read_text())
    key = rng.choice(("prior", "likelihood", "posterior", "network", "objective", "optimizer"))
    if name == "run.json":
        content["labels"] = {key: part}
    elif rng.random() < 0.3:
        content[key]["init_args"] = {"network": part, "hidden": part}
    else:
        content[key] = part
    file.write_text(_write(name, content))


def yaml_tag(rng: random.Random, folder: Path) -> None:
    """YAML with a tag that calls a function."""
    tag = rng.choice(("object/apply:builtins.open", "object/new:builtins.open", "name:os.system"))
    with (folder / "run" / rng.choice(("config.yaml", "run.json"))).open("a") as file:
        file.write(f"more: !!python/{tag} [{CANARY}, w]\n")


def data_elsewhere(rng: random.Random, folder: Path) -> None:
    """Data that are missing, endless, malicious or different."""
    (folder / "evil.pt").write_bytes(pickle.dumps(_Evil(folder)))
    torch.save(_Evil(folder), folder / "evil2.pt")
    os.mkfifo(folder / "pipe.npy")
    (folder / "zero.npy").symlink_to("/dev/zero")
    (folder / "loop").mkdir()
    (folder / "loop" / "a").symlink_to(".")
    (folder / "loop" / "b").symlink_to(".")
    names = ("evil.pt", "evil2.pt", "pipe.npy", "zero.npy", "loop", "/dev", "/proc", "nowhere.npy")
    file = folder / "run" / "config.yaml"
    content = yaml.safe_load(file.read_text())
    content[rng.choice(("data", "data", "labels", "root"))] = rng.choice((*names, "shapes", "", 5))
    file.write_text(yaml.safe_dump(content))


# The folder ---------------------------------------------------------------------------------------


def odd_folder(rng: random.Random, folder: Path) -> None:
    """The run is not a folder, or has unexpected entries."""
    run = folder / "run"

    def replaced(make: Callable[[Path], Any]) -> Callable[[], Any]:
        def apply() -> None:
            run.rename(folder / "moved")
            make(run)

        return apply

    changes = (
        replaced(lambda p: p.symlink_to("moved")),
        replaced(lambda p: p.symlink_to("run")),
        replaced(lambda p: p.write_text("a file")),
        replaced(lambda p: p.mkdir()),
        replaced(os.mkfifo),
        lambda: shutil.rmtree(run / "snapshots"),
        lambda: (shutil.rmtree(run / "snapshots"), (run / "snapshots").write_text("a file")),
        lambda: (run / "snapshots" / "step-9999999999999999999999.safetensors").write_text("x"),
        lambda: (run / "snapshots" / "step-1x.safetensors").write_text("x"),
        lambda: (run / "snapshots" / "step-0000009.safetensors").symlink_to("/dev/zero"),
        lambda: (run / "figures").write_text("a file"),
        lambda: (run / "loop").symlink_to("."),
        lambda: (run / ".state.pt-abc").write_text("x"),
        lambda: (run / ".state.pt-def").mkdir(),
        lambda: (
            (run / "evaluation.json").unlink(missing_ok=True),
            (run / "evaluation.json").mkdir(),
        ),
    )
    rng.choice(changes)()


def modules_in_place(rng: random.Random, folder: Path) -> None:
    """Modules in the current folder, named like those that a command imports late."""
    late = ("sklearn", "matplotlib", "torchvision", "PIL", "scipy", "tqdm", "torch", "yaml", "json")
    for place in (folder, folder / "run"):
        for name in late:
            (place / f"{name}.py").write_text(f"open({str(folder / CANARY)!r}, 'w')\n")


DAMAGES: tuple[Damage, ...] = (
    flip_a_bit,
    odd_value,
    change_state,
    foreign_class,
    truncate,
    change_tensors,
    bomb,
    flip_many_bits,
    change_lines,
    odd_folder,
    of_another_run,
    data_elsewhere,
    lengthen,
    odd_value,
    blank,
    lying_header,
    more_entries,
    pickle_in_place,
    change_state,
    junk,
    remove,
    swap_two,
    directory_in_place,
    link_in_place,
    pipe_in_place,
    yaml_tag,
    modules_in_place,
)


# Helpers ------------------------------------------------------------------------------------------


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every entry of nested dicts and lists, by what holds it and its key."""
    keys = content.keys() if isinstance(content, dict) else range(len(content))
    found = [(content, key) for key in keys]
    for key in keys:
        if isinstance(content[key], (dict, list)):
            found += _places(content[key])
    return found


def _parse(name: str, text: str) -> Any:
    if name == "metrics.jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return yaml.safe_load(text) if name == "config.yaml" else json.loads(text)


def _write(name: str, content: Any) -> str:
    if name == "metrics.jsonl":
        return "".join(json.dumps(row) + "\n" for row in content)
    return yaml.safe_dump(content) if name == "config.yaml" else json.dumps(content)


def _forge(run: Path) -> bool:
    """Record the present checksums of the files, if run.json can still be read."""
    record = run / "run.json"
    if not record.is_file() or "/dev" in os.path.realpath(record):  # reading a pipe would block
        return False
    try:
        info = json.loads(record.read_bytes())
        for name in info["checksums"]:
            if (run / name).is_file() and "/dev" not in os.path.realpath(run / name):
                info["checksums"][name] = [tensors.checksum((run / name).read_bytes())]
        record.write_text(json.dumps(records.sealed(info)))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return True


def _digest(weights: dict[str, torch.Tensor]) -> str:
    buffer = io.BytesIO()
    for name in sorted(weights):
        buffer.write(name.encode() + str(weights[name].dtype).encode())
        buffer.write(weights[name].contiguous().numpy().tobytes())
    return _hash(buffer.getvalue())


def _tree(folder: Path) -> str:
    """A digest of names and contents."""
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        regular = path.is_file() and not path.is_symlink()
        found.append((str(path), _hash(path.read_bytes()) if regular else ""))
    return _hash(repr(found).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
