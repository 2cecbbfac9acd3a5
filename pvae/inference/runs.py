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
"""

import inspect
import itertools
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml

import pvae
from pvae import factories, files
from pvae.builder import build
from pvae.data.dataset import Dataset
from pvae.data.loading import load as load_data
from pvae.data.named import NAMES
from pvae.inference import storage
from pvae.inference.history import History
from pvae.seeds import seeded
from pvae.vae import VAE

FORMAT = 1
FILES = (
    "config.yaml",
    "run.json",
    "metrics.jsonl",
    "weights.safetensors",
    "last.safetensors",
    "state.pt",
)
BEFORE = {"warmup": 0, "monitor": "neg_elbo", "keep": "best"}  # what there was before these were
MLP_PATH = "pvae.networks.MLP"
FREE_ON_RESUME = {"epochs", "patience", "compile", "device", "data", "labels", "root"}


class Run:
    """A run folder.

    Args:
        path: the folder.

    Raises:
        FileNotFoundError: if there is no such folder, or it is no run folder.
        ValueError: if it is damaged, or of a format that this version does not read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"There is no run folder {self.path}.")
        for name in ("run.json", "config.yaml"):
            if not (self.path / name).is_file():
                raise FileNotFoundError(
                    f"{self.path} is no run folder, or a half-written one: it has no {name}."
                )
        self.info = _read(self.path / "run.json", json.loads, {"format"})
        if self.info["format"] != FORMAT:
            raise ValueError(
                f"{self.path} is a run folder of format {self.info['format']}, written by pvae "
                f"{self.info.get('pvae', 'unknown')}: pvae {pvae.__version__} reads format "
                f"{FORMAT}."
            )

    @staticmethod
    def check_new(path: str | Path) -> None:
        """Check that a run folder can begin there.

        Raises:
            FileExistsError: if there is a file, or a folder that is not empty.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
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
        info = {
            "format": FORMAT,
            "pvae": pvae.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(device),
            "epochs": 0,
            "stopped": None,
            "data": describe_data(data),
        }
        with files.new_folder(Path(path)) as folder:
            files.write(folder / "config.yaml", _yaml(config))
            storage.write_weights(folder / snapshot_name(0), state["weights"])
            storage.write_state(folder / "state.pt", state)
            files.write(folder / "run.json", _json(info))  # last: it makes the folder a run
        return cls(path)

    def clean(self) -> None:
        """Remove what a killed process was in the midst of writing."""
        for name in (*FILES, "snapshots/epoch-*.safetensors"):
            file = self.path / name
            for temporary in file.parent.glob(files.temporary_name(file.name) + "*"):
                temporary.unlink()

    def update(self, **info: Any) -> None:
        """Change entries of run.json."""
        self.info |= info
        files.write(self.path / "run.json", _json(self.info))

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration anew, for a run that was resumed with more epochs."""
        files.write(self.path / "config.yaml", _yaml(config))

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

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration, as the command line reads it."""
        config = {**self.lacking, **self._written}
        network = config.get("network")
        if self.lacking and isinstance(network, dict) and network["class_path"] == MLP_PATH:
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
        needed = {"event_shape", "latent_dim", "data"}
        return _read(self.path / "config.yaml", yaml.safe_load, needed)

    @property
    def history(self) -> History:
        """The figures recorded so far."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        try:
            rows = [json.loads(line) for line in lines]
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is damaged: {error}.") from error
        stopped = self.info.get("stopped") or "interrupted"
        monitor = f"validation/{self.config['monitor']}"
        if rows and monitor not in rows[-1]:  # an objective that is the −ELBO
            monitor = "validation/neg_elbo"
        return History(rows, stopped, monitor, self.config["keep"])

    @property
    def state(self) -> Path:
        """The file that resuming needs."""
        return self.path / "state.pt"

    @property
    def snapshots(self) -> dict[int, str]:
        """The names of the weights kept during training, by epoch."""
        paths = (self.path / "snapshots").glob("epoch-[0-9]*.safetensors")
        epochs = sorted(int(path.stem.removeprefix("epoch-")) for path in paths)
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
        with seeded(0, torch.device("cpu")):  # the first weights are drawn, and replaced
            vae = build_from(self.config | self.info.get("labels", {}))
        return self.restore(vae, weights)

    def restore(self, vae: VAE, weights: str = "weights.safetensors") -> VAE:
        """Put weights of this run into a model of the same parts."""
        path = self.path / weights
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: training stopped before its first checkpoint, or the file "
                "was removed; resume the run, or train anew."
            )
        weights_read = storage.read_weights(path)
        dtypes = {w.dtype for w in weights_read.values() if w.is_floating_point()}
        if len(dtypes) == 1:
            vae.to(dtypes.pop())
        load_weights(vae, weights_read, path)
        return vae.eval()


def load(run: str | Path, vae: VAE | None = None) -> VAE:
    """Load a trained VAE from its run folder, with the weights of its best epoch.

    Args:
        run: the run folder.
        vae: a VAE to put the weights into, for one that was not made by `pvae.build` and so
            cannot be rebuilt from its configuration.

    Returns:
        The VAE on the CPU, in evaluation mode, ready to use.

    Raises:
        FileNotFoundError: if the folder or a file of it is missing.
        ValueError: if it is damaged, of another format, or its weights are of another model.

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
    found = Run(run)
    return found.vae() if vae is None else found.restore(vae)


def build_from(config: Mapping[str, Any]) -> VAE:
    """Build the VAE that a configuration describes.

    Raises:
        ValueError: if a part is missing, cannot be imported, or refuses its arguments.
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
        return build(**arguments)
    except (TypeError, AttributeError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"The configured model cannot be built: {said}.") from error


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


def load_weights(vae: VAE, weights: dict[str, torch.Tensor], source: object) -> None:
    """Put weights into a VAE.

    Raises:
        ValueError: if a name or a shape differs; nothing has then been changed.
    """
    own = vae.state_dict()
    differing = [
        f"{name}: {_shape(weights.get(name))} in the file, {_shape(own.get(name))} in the model"
        for name in sorted(own.keys() | weights.keys())
        if _shape(weights.get(name)) != _shape(own.get(name))
    ]
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise ValueError(f"{source} does not match the model; {differing[0]}{more}.")
    vae.load_state_dict(weights)


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


def _read(path: Path, parse: Callable[[str], Any], needed: set[str]) -> dict[str, Any]:
    """Read a file of named values."""
    try:
        found = parse(path.read_text())
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged and cannot be read: {said}.") from error
    if not isinstance(found, dict) or needed - found.keys():
        missing = needed - found.keys() if isinstance(found, dict) else needed
        raise ValueError(f"{path} is incomplete: it lacks {', '.join(sorted(missing))}.")
    return found


def _json(info: Mapping[str, Any]) -> bytes:
    return (json.dumps(info, indent=2) + "\n").encode()


def _yaml(config: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).encode()


def _shape(tensor: torch.Tensor | None) -> str:
    return "absent" if tensor is None else str(tuple(tensor.shape))
