"""The run folder: everything that a training run leaves behind.

::

    config.yaml           rebuilds the model and the data, and repeats the run
    run.json              format, versions, device, and how far training got
    metrics.jsonl         the figures of each epoch
    weights.safetensors   of the best epoch
    last.safetensors      of the last epoch
    snapshots/            weights at epochs 0, 1, 2, 4, 8, ..., for pictures over training time
    state.pt              what resuming needs: weights, optimizer, random state
    figures/              pictures

Whoever writes holds a lock. `run.json` has the checksums of what it wrote; while several files are
replaced, those of their old and of their new content, so that a process killed in between leaves a
folder that is whole.
"""

import errno
import inspect
import itertools
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch
import yaml

from pvae import __version__, factories, memory
from pvae.builder import build
from pvae.data.dataset import Dataset
from pvae.data.domains import Domain
from pvae.data.loading import load as load_data
from pvae.data.named import NAMES
from pvae.inference.backends import Backend
from pvae.messages import brief
from pvae.seeds import seeded
from pvae.storage import configuration, files, schema, tensors, trust
from pvae.storage.lock import lock
from pvae.storage.schema import Number
from pvae.training.history import History
from pvae.vae import VAE

FORMAT = 1
BEFORE = {"warmup": 0, "monitor": "neg_elbo", "keep": "best"}  # what there was before these were
MLP_PATH = "pvae.networks.MLP"
BEGUN = {"config.yaml", "run.json", "state.pt", "snapshots"}
"""What a run folder begins with."""

FREE_ON_RESUME = {"epochs", "patience", "compile", "device", "data", "labels", "root"}

_INFO = {
    "pvae?": str,
    "torch?": str,
    "python?": str,
    "device?": str,
    "dtype?": str | None,
    "epochs": int,
    "stopped?": str | None,
    "data": {
        "name": str,
        "domain": {*get_args(Domain)},
        "value_range": [Number],
        "items": int,
        "classes": list | None,
        "fingerprint": str,
    },
    "mode?": {"eager", *get_args(Backend)},
    "labels?": {"classes?": int | None, "label_dim?": int | None},
    "checksums?": {"*": [str]},
}
_PART = dict | None
_CONFIG = {
    "data": str | None,
    "labels?": str | None,
    "size?": int | list | None,
    "crop?": bool,
    "channels?": int | None,
    "event_shape": [int],
    "key?": str | None,
    "validation?": Number | None,
    "test?": Number | None,
    "binarization?": str,
    "skip_broken?": bool,
    "root?": str | None,
    "latent_dim": int,
    "prior?": _PART,
    "likelihood?": _PART,
    "posterior?": _PART,
    "network?": _PART,
    "conditional?": bool | list,
    "objective?": _PART,
    "optimizer?": _PART,
    "scheduler?": _PART,
    "epochs?": int,
    "batch_size?": int,
    "clip_norm?": Number | None,
    "warmup?": int,
    "patience?": int | None,
    "compile?": bool | str,
    "device?": str,
    "seed?": int,
    "monitor?": str,
    "keep?": {"best", "last"},
}
_ROW = {"epoch": int, "step": int, "seconds": Number, "loss": Number, "*": Number | None}
_SNAPSHOT = re.compile(r"epoch-(\d{6,12})\.safetensors")
_FLOATING = {"float16", "bfloat16", "float32", "float64"}
_MOST_INFO = 2**24
_MOST_METRICS = 2**30


class Run:
    """A run folder.

    Args:
        path: the folder.
        trust: modules besides pvae, torch and pyro that its parts may be imported from.

    Raises:
        FileNotFoundError: if there is no such folder, or it is no run folder.
        ValueError: if it is damaged, or of a format that this version does not read.
    """

    def __init__(self, path: str | Path, trust: str | Iterable[str] | None = None) -> None:
        if not isinstance(path, str | Path):
            raise TypeError(
                f"run is of type {type(path).__name__}: give the path of a run folder, such as "
                "'runs/digits'."
            )
        self.path = Path(path)
        self.trust = trust
        if not self.path.is_dir():
            raise FileNotFoundError(f"There is no run folder {self.path}.")
        for name in ("run.json", "config.yaml"):
            if not (self.path / name).exists():
                raise FileNotFoundError(
                    f"{self.path} is no run folder, or a half-written one: it has no {name}."
                )
        self.info = self._read_info()

    @staticmethod
    def check_new(path: str | Path) -> None:
        """Check that a run folder can begin there.

        Raises:
            FileExistsError: if there is a file, or a folder that is not empty. What a process left
                that was killed as it began does not count.
            ValueError: if the path is empty.
        """
        if path == "":
            raise ValueError("The path of the run folder is empty: give it a name.")
        path = Path(path)
        if path.exists() and (not path.is_dir() or _kept(path)):
            raise FileExistsError(
                f"{path} exists already: choose another run folder, or resume the run in it."
            )

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: Mapping[str, Any],
        data: Dataset,
        device: torch.device,
        state: dict[str, Any],
    ) -> "Run":
        """Begin a run folder, which appears complete with its first state or not at all.

        Raises:
            FileExistsError: if the folder is there and not empty.
            OSError: if it cannot be written.
        """
        cls.check_new(path)
        path = Path(path)
        dtypes = _floating(state["weights"])
        contents = {
            "config.yaml": _yaml(config),
            snapshot_name(0): tensors.pack_weights(state["weights"]),
            "state.pt": tensors.pack_state(state),
        }
        info = {
            "format": FORMAT,
            "pvae": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(device),
            "dtype": dtypes.pop() if len(dtypes) == 1 else None,
            "epochs": 0,
            "stopped": None,
            "data": describe_data(data),
            "checksums": {name: [tensors.checksum(content)] for name, content in contents.items()},
        }
        if path.exists():
            _remove_begun(path)
        with files.new_folder(path, last="run.json") as folder:
            for name, content in contents.items():
                files.write(folder / name, content)
            files.write(folder / "run.json", _json(_sealed(info)))
        return cls(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one process that writes the run while entered.

        Raises:
            BlockingIOError: if there is another.
            ValueError: if another has written the run since it was opened.
        """
        with lock(self.path):
            if self._read_info() != self.info:
                raise ValueError(
                    f"{self.path} was changed by another process meanwhile: start again."
                )
            for folder in (self.path, self.path / "snapshots", self.figures):
                if folder.is_dir():
                    files.clean(folder)
            yield

    def check(self) -> None:
        """Check that all that is needed to go on is whole, without changing anything.

        Raises:
            BlockingIOError: if another process is writing the run.
            FileNotFoundError: if there is no state to continue from.
            ValueError: if a file is damaged, which is named.
        """
        for name in ("evaluation.json", "compression.json"):  # which are written at the end
            if (self.path / name).is_dir():
                raise ValueError(f"{self.path / name} is a folder: a file is expected.")
        with lock(self.path):
            _ = self.config, self.history
            for name in self.checksums:
                path = self.path / name
                if path.exists() and name != "run.json":
                    tensors.check_sum(path, files.read(path), self.checksums[name])
            self.state()

    @property
    def checksums(self) -> dict[str, list[str]]:
        """The checksums that each file of the run may have; none in runs of earlier versions."""
        return self.info.get("checksums", {})

    def update(self, **info: Any) -> None:
        """Change entries of run.json.

        Raises:
            FileNotFoundError: if the run folder is gone.
            OSError: if it cannot be written.
        """
        if not (self.path / "run.json").exists():
            raise FileNotFoundError(
                errno.ENOENT,
                f"The run folder {self.path} has been removed or renamed: put it back and resume, "
                "or begin a new run",
            )
        self.info = _sealed(self.info | info)
        files.write(self.path / "run.json", _json(self.info))

    def write_files(self, contents: Mapping[str, bytes], **info: Any) -> None:
        """Write files of the run with their checksums, and change entries of run.json.

        The checksums are announced before, beside those of what is replaced, so that the run is
        whole at any moment between.

        Raises:
            FileNotFoundError: if the run folder is gone.
            OSError: if it cannot be written.
        """
        new = {name: [tensors.checksum(content)] for name, content in contents.items()}
        both = {name: [*new[name], *self.checksums.get(name, [])] for name in new}
        self.update(checksums=self.checksums | both)
        for name, content in contents.items():
            files.write(self.path / name, content)
        self.update(checksums=self.checksums | new, **info)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration anew, for a run that was resumed with more epochs."""
        self.write_files({"config.yaml": _yaml(config)})
        self.__dict__.pop("_config", None)
        self.__dict__.pop("_written", None)
        self.__dict__.pop("lacking", None)

    def check_same(self, config: Mapping[str, Any], data: Dataset) -> None:
        """Check that a configuration and data continue this run.

        Raises:
            ValueError: if they differ in what would make it another run.
        """
        given = yaml.safe_load(_yaml(config))
        for name in self.config.keys() | given.keys():
            if name in FREE_ON_RESUME or self._same(self.config.get(name), given.get(name)):
                continue
            raise ValueError(
                f"{self.path} cannot be resumed with {name} {given.get(name)!r}: it was begun "
                f"with {self.config.get(name)!r}; begin a new run, or keep it as it was."
            )
        # The path may differ, on another machine, say; what is trained on may not.
        if self.info.get("data") != describe_data(data) | {"name": self.info["data"]["name"]}:
            raise ValueError(
                f"{self.path} cannot be resumed with these data: it was begun with others, "
                f"{self.info['data']['items']} training items of {self.info['data']['name']}."
            )

    def _same(self, own: Any, given: Any) -> bool:
        """Whether an entry of the configuration is as it was, by what there was of it then."""
        if not (self.lacking and isinstance(own, dict) and isinstance(given, dict)):
            return own == given
        before, now = own.get("init_args") or {}, given.get("init_args") or {}
        alike = all(before[k] == now[k] for k in before.keys() & now.keys())
        return alike and own.get("class_path") == given.get("class_path")

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, as the command line reads it.

        Raises:
            ValueError: if it is damaged, or has been changed since the run was begun.
        """
        path = self.path / "config.yaml"
        tensors.check_sum(path, files.read(path), self.checksums.get("config.yaml", ()))
        return self._config

    @cached_property
    def _config(self) -> dict[str, Any]:
        config = {**self.lacking, **self._written}
        network = config.get("network")
        if self.lacking and isinstance(network, dict) and network.get("class_path") == MLP_PATH:
            # Its dropout was 0 where it was not given.
            arguments = {"dropout": 0.0} | (network.get("init_args") or {})
            config["network"] = network | {"init_args": arguments}
        return config

    @cached_property
    def lacking(self) -> dict[str, Any]:
        """What the version that began the run did not have, as it is without."""
        return {k: v for k, v in BEFORE.items() if k not in self._written}

    @cached_property
    def _written(self) -> dict[str, Any]:
        path = self.path / "config.yaml"
        config = configuration.read(path)
        schema.check(config, _CONFIG, path)
        return config

    @property
    def history(self) -> History:
        """The figures recorded so far.

        Raises:
            FileNotFoundError: if they are missing.
            ValueError: if they are damaged.
        """
        path = self.path / "metrics.jsonl"
        rows = []
        if self.info["epochs"] or os.path.lexists(path):
            content = files.read(path, _MOST_METRICS)
            for number, line in enumerate(content.splitlines(), 1):
                rows.append(_parse(line, f"{path}, line {number},"))
                schema.check(rows[-1], _ROW, f"{path}, line {number},")
                if rows[-1]["epoch"] != number:
                    raise ValueError(f"{path} is damaged: line {number} is not of epoch {number}.")
            tensors.check_sum(path, content, self.checksums.get("metrics.jsonl", ()))
        stopped = self.info.get("stopped") or "interrupted"
        monitor = f"validation/{self.config['monitor']}"
        if rows and monitor not in rows[-1]:  # an objective that is the −ELBO
            monitor = "validation/neg_elbo"
        return History(rows, stopped, monitor, self.config["keep"])

    def state(self) -> dict[str, Any]:
        """Read what resuming needs.

        Raises:
            FileNotFoundError: if it is missing.
            ValueError: if it is damaged.
        """
        return tensors.read_state(self.path / "state.pt", self.checksums.get("state.pt", ()))

    @property
    def snapshots(self) -> dict[int, str]:
        """The names of the weights kept during training, by epoch."""
        folder = self.path / "snapshots"
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        found = [_SNAPSHOT.fullmatch(name) for name in names]
        epochs = sorted(int(match[1]) for match in found if match)
        return {epoch: snapshot_name(epoch) for epoch in epochs}

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Write a JSON file of the run."""
        files.write(self.path / name, _json(record))

    @property
    def figures(self) -> Path:
        """The folder for pictures."""
        return self.path / "figures"

    def data(self) -> Dataset:
        """Load the data that the run was trained on.

        Raises:
            ValueError: if they were given by value, and only the caller has them.
        """
        if self.config["data"] is None:
            raise ValueError(
                f"The run {self.path} was trained on data given by value, which it does not hold: "
                "say which data to use."
            )
        return load_data(**select(self.config, load_data))

    def vae(self, weights: str = "weights.safetensors") -> VAE:
        """Rebuild the model with weights of this run, ready to use.

        Args:
            weights: a file of the run folder.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if the configuration names what cannot be built, or the weights are not
                those of this model.
        """
        labels = self.info.get("labels", {})
        config = self._config | {name: labels.get(name) for name in ("classes", "label_dim")}
        found = self._weights(weights)
        with seeded(0, torch.device("cpu")):  # the first weights are drawn, and replaced
            try:
                with trust.trusting(self.trust):
                    vae = build_from(config, found)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from error
        self._put(vae, found, weights)
        _ = self.config  # what else it says must be true as well
        return vae

    def restore(self, vae: VAE, weights: str = "weights.safetensors") -> VAE:
        """Put weights of this run into a model of the same parts."""
        return self._put(vae, self._weights(weights), weights)

    def _weights(self, name: str) -> dict[str, torch.Tensor]:
        path = self.path / name
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is missing: training stopped before its first checkpoint, or the file "
                "was removed; resume the run, or train anew."
            )
        return tensors.read_weights(path, self.checksums.get(name, ()))

    def _put(self, vae: VAE, found: dict[str, torch.Tensor], name: str) -> VAE:
        dtype = self.info.get("dtype")
        if dtype is None and len(dtypes := _floating(found)) == 1:
            (dtype,) = dtypes
        if dtype is not None:
            vae.to(getattr(torch, dtype))
        load_weights(vae, found, self.path / name)
        if vae.labels is not None:
            vae.labels.name(self.info.get("data", {}).get("classes"))
        return vae.eval()

    def _read_info(self) -> dict[str, Any]:
        path = self.path / "run.json"
        info = _parse(files.read(path, _MOST_INFO), path)
        schema.check(info, {"format": int}, path)
        if info["format"] != FORMAT:
            raise ValueError(
                f"{self.path} is a run folder of format {info['format']}, written by pvae "
                f"{brief(info.get('pvae', 'unknown'), 20)}: pvae {__version__} reads format "
                f"{FORMAT}."
            )
        schema.check(info, _INFO, path)
        if len(info["data"]["value_range"]) != 2:
            raise ValueError(f"{path} is damaged: data.value_range is not two numbers.")
        if info.get("dtype") not in (None, *_FLOATING):
            raise ValueError(f"{path} is damaged: dtype is no type of numbers with a point.")
        known = info.get("checksums", {}).get("run.json", ())
        if known and _sealed(info)["checksums"]["run.json"] != known:
            raise ValueError(
                f"{path} is not what the run wrote: its checksum differs, so that at least one "
                "entry has changed; restore the file from a copy."
            )
        return info


def load(run: str | Path, vae: VAE | None = None, trust: str | Iterable[str] | None = None) -> VAE:
    """Load a trained VAE from its run folder, with the weights of its best epoch.

    A run folder is not trusted. Nothing in it is executed, and the parts it names are imported
    from pvae, torch and pyro alone, unless other modules are trusted.

    Args:
        run: the run folder.
        vae: a VAE to put the weights into, for one that was not made by `pvae.build` and so
            cannot be rebuilt from its configuration.
        trust: modules of your own that its parts are from, such as ``["my_module"]``.

    Returns:
        The VAE on the CPU, in evaluation mode, ready to use.

    Raises:
        FileNotFoundError: if the folder or a file of it is missing.
        ValueError: if it is damaged, of another format, has parts of modules that are not trusted,
            or its weights are of another model.

    Example:
        >>> import tempfile
        >>> import pvae
        >>> data = pvae.data.load("digits")
        >>> vae = pvae.build(data.event_shape, latent_dim=2)
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> history = pvae.fit(vae, data, epochs=1, run=folder, progress=False)
        >>> pvae.load(folder).sample(3).shape
        torch.Size([3, 1, 8, 8])
    """
    found = Run(run, trust)
    if vae is not None and not isinstance(vae, VAE):
        raise TypeError(
            f"vae is of type {type(vae).__name__}: give the VAE to put the weights into, or none."
        )
    return found.vae() if vae is None else found.restore(vae)


def build_from(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor] | None = None) -> VAE:
    """Build the VAE that a configuration describes.

    Args:
        config: as `Run.config`.
        weights: those that it is built for, whose shapes it must have.

    Raises:
        ValueError: if a part is missing, cannot be imported, or refuses its arguments, or the model
            is not that of the weights or too large for the memory.
    """
    arguments = select(config, build)
    for name in arguments.keys() & {"prior", "likelihood", "posterior", "network"}:
        if arguments[name] is None:
            raise ValueError(
                f"The {name} of this run was made by code that a configuration cannot name: make "
                "the VAE yourself and pass it, pvae.load(run, vae=vae)."
            )
        arguments[name] = factories.restore(name, arguments[name], torch.nn.Module)
    try:
        state = memory.check_model(lambda: build(**arguments))
        if weights is not None and state is not None:
            own, found = ({n: tuple(w.shape) for n, w in s.items()} for s in (state, weights))
            _check_same(own, found, "The file of weights")
        return build(**arguments)
    except ValueError:
        raise
    except Exception as error:  # whatever parts make of arguments that are not for them
        raise ValueError(f"The configured model cannot be built: {brief(error)}.") from error


def new_path(name: str) -> Path:
    """A run folder that is not there yet: runs/name, runs/name-2, ..."""
    base = Path("runs")
    names = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(base / n for n in names if not (base / n).exists())


def load_like(data: str, arguments: Mapping[str, Any], event_shape: Sequence[int]) -> Dataset:
    """Load other data as a run's own were loaded, in the event shape of its VAE.

    None of it is held out: what has no test part of its own is one part, train.
    """
    kept: dict[str, Any] = {"binarization": arguments.get("binarization", "dynamic")}
    if data not in NAMES and not Path(data).is_dir():
        kept["event_shape"] = tuple(event_shape)
    elif len(event_shape) == 3:
        kept |= {"size": tuple(event_shape[1:]), "channels": event_shape[0]}
        kept["crop"] = arguments.get("crop", False)
    return load_data(data, validation=0, test=0, **kept)


def select(config: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """The entries of a configuration that are arguments of a function."""
    return {k: config[k] for k in inspect.signature(function).parameters if k in config}


def load_weights(vae: VAE, weights: Mapping[str, torch.Tensor], source: object) -> None:
    """Put weights into a VAE.

    Raises:
        ValueError: if a name, shape or dtype differs; nothing has then been changed.
    """
    check_tensors(vae.state_dict(), weights, source)
    vae.load_state_dict(weights)


def check_tensors(
    own: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], source: object
) -> None:
    """Check that tensors from a file are those of the model in name, shape and dtype.

    Raises:
        ValueError: if not; the first that differs is named.
    """
    _check_same(*({n: _kind(w) for n, w in side.items()} for side in (own, found)), source)


def _check_same(own: Mapping[str, Any], found: Mapping[str, Any], source: object) -> None:
    differing = [
        f"{brief(name, 60)}: {found.get(name, 'absent')} in the file, {own.get(name, 'absent')} "
        "in the model"
        for name in sorted(own.keys() | found.keys())
        if found.get(name) != own.get(name)
    ]
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise ValueError(f"{source} does not match the model; {differing[0]}{more}.")


def snapshot_name(epoch: int) -> str:
    """The file of a run folder with the weights after an epoch."""
    return f"snapshots/epoch-{epoch:06d}.safetensors"


def describe_data(data: Dataset) -> dict[str, Any]:
    """What to know of data without having them, and to know them again by."""
    return {
        "name": data.name,
        "domain": data.domain,
        "value_range": list(data.value_range),
        "items": len(data.train),
        "classes": None if data.classes is None else list(data.classes),
        "fingerprint": data.fingerprint(),
    }


def _parse(text: bytes, source: object) -> Any:
    """Read JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is damaged and cannot be read: {brief(error)}.") from error


def _json(info: Mapping[str, Any]) -> bytes:
    return (json.dumps(info, indent=2) + "\n").encode()


def _yaml(config: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).encode()


def _sealed(info: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json holds, with the checksum of all its other entries where it holds any."""
    info = json.loads(json.dumps(info))
    if "checksums" in info:
        info["checksums"].pop("run.json", None)
        content = json.dumps(info, sort_keys=True).encode()
        info["checksums"]["run.json"] = [tensors.checksum(content)]
    return info


def _kept(path: Path) -> set[str]:
    """What is in a folder, but for what a process left that was killed as it began a run there."""
    left = {entry.name for entry in files.abandoned(path)}
    begun = BEGUN if files.unfinished(path) else set()
    return {entry.name for entry in path.iterdir()} - left - begun


def _remove_begun(path: Path) -> None:
    if files.unfinished(path):
        for name in BEGUN:
            begun = path / name
            shutil.rmtree(begun) if begun.is_dir() else begun.unlink(missing_ok=True)


def _floating(weights: Mapping[str, torch.Tensor]) -> set[str]:
    """The names of the floating-point types among weights."""
    dtypes = {w.dtype for w in weights.values() if w.is_floating_point()}
    return {str(dtype).removeprefix("torch.") for dtype in dtypes}


def _kind(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
