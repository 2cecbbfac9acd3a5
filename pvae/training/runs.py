"""The run folder: the files of a training run.

::

    config.yaml           rebuilds the model and the data, and repeats the run
    run.json              format, versions, device, and how far training got
    metrics.jsonl         the metrics of each epoch
    weights.safetensors   of the best epoch
    last.safetensors      of the last epoch
    snapshots/            weights at steps 0, 1, 2, 3, 4, 6, 8, 11, ..., for pictures over training
    state.pt              the checkpoint for resuming: weights, optimizer, random state
    figures/              pictures

A process that writes holds a lock. `run.json` has the checksums of the files; while several files
are replaced, it has those of their old and new content, so that a process killed in between leaves
a valid folder.
"""

import errno
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml

from pvae import __version__
from pvae.data.dataset import Dataset
from pvae.data.loading import load as load_data
from pvae.messages import brief, kind_of
from pvae.seeds import seeded
from pvae.storage import files, tensors, trust
from pvae.storage.lock import lock
from pvae.training import records
from pvae.training.history import History
from pvae.training.rebuild import build_from, load_weights, select
from pvae.vae import VAE

BEGUN = {"config.yaml", "run.json", "state.pt", "snapshots"}  # the first files of a run folder
FREE_ON_RESUME = {"epochs", "patience", "compile", "device", "data", "labels", "root"}
_WRITTEN = (".json", ".jsonl", ".yaml", ".safetensors", ".pt", ".npz", ".csv", ".png", ".gif")


class Run:
    """A run folder.

    Args:
        path: the folder.
        trust: modules besides pvae, torch and pyro that its parts may be imported from.

    Raises:
        FileNotFoundError: if there is no such folder, or it is not a run folder.
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
                    f"{self.path} is not a run folder, or is incomplete: it has no {name}."
                )
        self.info = records.read_info(self.path / "run.json")

    @staticmethod
    def check_new(path: str | Path) -> None:
        """Raise if a run folder cannot be created there.

        Raises:
            FileExistsError: if there is a file, or a folder that is not empty. Files left by a
                process that was killed while it created a run folder are ignored.
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
        snapshot: bool,
    ) -> "Run":
        """Create a run folder, which appears complete with its first state or not at all.

        With ``snapshot`` the weights before the first step are kept as well.

        Raises:
            FileExistsError: if the folder exists and is not empty.
            OSError: if it cannot be written.
        """
        cls.check_new(path)
        path = Path(path)
        dtypes = records.floating(state["weights"])
        contents = {"config.yaml": records.as_yaml(config), "state.pt": tensors.pack_state(state)}
        if snapshot:
            contents[records.snapshot_name(0)] = tensors.pack_weights(state["weights"])
        info = {
            "format": records.FORMAT,
            "pvae": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(device),
            "dtype": dtypes.pop() if len(dtypes) == 1 else None,
            "epochs": 0,
            "stopped": None,
            "data": records.describe_data(data),
            "checksums": {name: [tensors.checksum(content)] for name, content in contents.items()},
        }
        if path.exists():
            _remove_begun(path)
        with files.new_folder(path, last="run.json") as folder:
            for name, content in contents.items():
                files.write(folder / name, content)
            files.write(folder / "run.json", records.as_json(records.sealed(info)))
        return cls(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run for writing while entered.

        Raises:
            BlockingIOError: if another process has locked it.
            ValueError: if another has written the run since it was opened.
        """
        with lock(self.path):
            if records.read_info(self.path / "run.json") != self.info:
                raise ValueError(
                    f"{self.path} was changed by another process meanwhile: start again."
                )
            for folder in self._folders():
                files.clean(folder)
            yield

    def check(self) -> None:
        """Raise if a file needed to resume is missing or damaged, without changing anything.

        Raises:
            BlockingIOError: if another process is writing the run.
            FileNotFoundError: if there is no state to continue from.
            ValueError: if a file is damaged; the message names it.
        """
        self.check_places()
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
                "or start a new run",
            )
        self.info = records.sealed(self.info | info)
        files.write(self.path / "run.json", records.as_json(self.info))

    def write_files(self, contents: Mapping[str, bytes], **info: Any) -> None:
        """Write files of the run with their checksums, and change entries of run.json.

        The new checksums are written first, next to those of the replaced files, so that the run is
        valid at any moment in between.

        Raises:
            FileNotFoundError: if the run folder is gone.
            OSError: if it cannot be written.
        """
        new = {name: [tensors.checksum(content)] for name, content in contents.items()}
        both = {name: [*new[name], *self.checksums.get(name, [])] for name in new}
        self.update(checksums=self.checksums | both)
        for name, content in contents.items():
            files.write(self.place(name), content)
        self.update(checksums=self.checksums | new, **info)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Rewrite the configuration of a run that was resumed with more epochs."""
        self.write_files({"config.yaml": records.as_yaml(config)})
        for name in ("_config", "_written", "lacking"):
            self.__dict__.pop(name, None)

    def check_same(self, config: Mapping[str, Any], data: Dataset) -> None:
        """Raise if a configuration or data differ from those of this run.

        Raises:
            ValueError: if they differ in anything that changes the run.
        """
        given = yaml.safe_load(records.as_yaml(config))
        for name in self.config.keys() | given.keys():
            own, now = self.config.get(name), given.get(name)
            if name in FREE_ON_RESUME or records.same(own, now, bool(self.lacking)):
                continue
            raise ValueError(
                f"{self.path} cannot be resumed with {name} {brief(repr(now), 60)}: it was started "
                f"with {brief(repr(own), 60)}; start a new run, or keep it as it was."
            )
        # The path may differ, for example on another machine; the data may not.
        known = self.info["data"]
        if known != records.describe_data(data) | {"name": known["name"]}:
            raise ValueError(
                f"{self.path} cannot be resumed with these data: it was started with others, "
                f"{known['items']} training items of {brief(known['name'], 60)}."
            )

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, as the command line reads it.

        Raises:
            ValueError: if it is damaged, or has been changed since the run was started.
        """
        path = self.path / "config.yaml"
        tensors.check_sum(path, files.read(path), self.checksums.get("config.yaml", ()))
        return self._config

    @cached_property
    def _config(self) -> dict[str, Any]:
        return records.completed(self._written)

    @cached_property
    def lacking(self) -> dict[str, Any]:
        """The options that the version of the run did not have, with equivalent values."""
        return records.lacking(self._written)

    @cached_property
    def _written(self) -> dict[str, Any]:
        return records.read_config(self.path / "config.yaml")

    @property
    def history(self) -> History:
        """The metrics recorded so far.

        Raises:
            FileNotFoundError: if they are missing.
            ValueError: if they are damaged.
        """
        path, known = self.path / "metrics.jsonl", self.checksums.get("metrics.jsonl", ())
        rows = records.read_rows(path, known, begun=self.info["epochs"] > 0)
        stopped = self.info.get("stopped") or "interrupted"
        monitor = self.info.get("monitor")
        if monitor is None:  # as in a run of an earlier version
            monitor = f"validation/{self.config['monitor']}"
            if rows and monitor not in rows[-1]:  # an objective that is the −ELBO
                monitor = "validation/neg_elbo"
        return History(rows, stopped, monitor, self.config["keep"])

    def state(self) -> dict[str, Any]:
        """Read the checkpoint for resuming.

        Raises:
            FileNotFoundError: if it is missing.
            ValueError: if it is damaged.
        """
        return tensors.read_state(self.path / "state.pt", self.checksums.get("state.pt", ()))

    @property
    def snapshots(self) -> dict[int, str]:
        """The file names of the snapshots, by gradient step."""
        return records.snapshots(self.path / "snapshots", self.history.rows)

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Write a JSON file of the run."""
        files.write(self.place(name), records.as_json(record))

    def place(self, name: str) -> Path:
        """Return the path of a file of the run, after checking that it is within the run folder.

        Raises:
            ValueError: if a folder on the path is a link or a file, or a folder is in its place.
        """
        path = self.path / name
        for folder in path.parents[: len(Path(name).parts) - 1]:
            files.check_own_folder(folder)
        files.check_replaceable(path)
        return path

    def check_places(self) -> None:
        """Raise if a file that the run may write cannot be written.

        Raises:
            ValueError: if a folder of the run is a link, or a folder is in the place of a file.
        """
        for folder in self._folders():
            for entry in folder.iterdir():
                if entry.suffix in _WRITTEN:
                    files.check_replaceable(entry)

    @property
    def figures(self) -> Path:
        """The folder for pictures.

        Raises:
            ValueError: if it is a link or a file: pictures would be written elsewhere.
        """
        files.check_own_folder(self.path / "figures")
        return self.path / "figures"

    def _folders(self) -> list[Path]:
        """The folders of the run, after checking that none is a link."""
        snapshots = self.path / "snapshots"
        files.check_own_folder(snapshots)
        return [self.path, *filter(Path.exists, (snapshots, self.figures))]

    def data(self) -> Dataset:
        """Load the data that the run was trained on.

        Raises:
            ValueError: if they were given by value, and only the caller has them.
        """
        if self.config["data"] is None:
            raise ValueError(
                f"The run {self.path} was trained on data given by value, which it does not store: "
                "pass the data to use."
            )
        return load_data(**select(self.config, load_data))

    def vae(self, weights: str = "weights.safetensors") -> VAE:
        """Rebuild the VAE with weights of this run.

        Args:
            weights: a file of the run folder.

        Raises:
            FileNotFoundError: if the file is missing.
            ValueError: if the VAE of the configuration cannot be built, or the weights are not
                those of this model.
        """
        labels = self.info.get("labels", {})
        config = self._config | {name: labels.get(name) for name in ("classes", "label_dim")}
        found = self._weights(weights)
        with seeded(0, torch.device("cpu")):  # initial weights are drawn, and replaced
            try:
                with trust.trusting(self.trust):
                    vae = build_from(config, found)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from error
        self._put(vae, found, weights)
        _ = self.config  # checks its other entries
        return vae

    def restore(self, vae: VAE, weights: str = "weights.safetensors") -> VAE:
        """Load weights of this run into a VAE with the same parts."""
        return self._put(vae, self._weights(weights), weights)

    def _weights(self, name: str) -> dict[str, torch.Tensor]:
        path = self.path / name
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is missing: training stopped before its first checkpoint, or the file "
                "was removed; resume the run, or train again."
            )
        return tensors.read_weights(path, self.checksums.get(name, ()))

    def _put(self, vae: VAE, found: dict[str, torch.Tensor], name: str) -> VAE:
        dtype = self.info.get("dtype")
        if dtype is None and len(dtypes := records.floating(found)) == 1:
            (dtype,) = dtypes
        if dtype is not None:
            vae.to(getattr(torch, dtype))
        load_weights(vae, found, self.path / name)
        data = self.info.get("data", {})
        if vae.labels is not None:
            vae.labels.name(data.get("classes"))
        if vae.weights is not None and data:
            vae.weights.observe(data["items"])
        return vae.eval()


def load(run: str | Path, vae: VAE | None = None, trust: str | Iterable[str] | None = None) -> VAE:
    """Load a trained VAE from its run folder, with the weights of its best epoch.

    A run folder is not trusted. Nothing in it is executed, and its parts are imported
    only from pvae, torch and pyro, unless other modules are trusted.

    Args:
        run: the run folder.
        vae: a VAE to load the weights into, if it was not made by `pvae.build` and so
            cannot be rebuilt from its configuration.
        trust: modules of your own that define its parts, such as ``["my_module"]``.

    Returns:
        The VAE on the CPU, in evaluation mode, ready to use.

    Raises:
        FileNotFoundError: if the folder or a file of it is missing.
        ValueError: if it is damaged, of another format, has parts of untrusted modules,
            or its weights are of another model.

    Example:
        >>> import pvae, tempfile
        >>> data = pvae.data.load("digits")
        >>> vae = pvae.build(data.event_shape, latent_dim=2)
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> history = pvae.fit(vae, data, epochs=1, run=folder, progress=False)
        >>> pvae.load(folder).sample(3).shape
        torch.Size([3, 1, 8, 8])
    """
    found = Run(run, trust)
    if vae is not None and not isinstance(vae, VAE):
        raise TypeError(f"vae is {kind_of(vae)}: give the VAE to put the weights into, or none.")
    return found.vae() if vae is None else found.restore(vae)


def _kept(path: Path) -> set[str]:
    """The content of a folder, without files left by a process that was killed at the start."""
    left = {entry.name for entry in files.abandoned(path)}
    begun = BEGUN if files.unfinished(path) else set()
    return {entry.name for entry in path.iterdir()} - left - begun


def _remove_begun(path: Path) -> None:
    if files.unfinished(path):
        for name in BEGUN:
            begun = path / name
            whole = begun.is_dir() and not begun.is_symlink()
            shutil.rmtree(begun) if whole else begun.unlink(missing_ok=True)
