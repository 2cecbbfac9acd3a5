"""The pages of the API, one a package, from its stub and the docstrings."""

import importlib
import inspect
from types import ModuleType

PACKAGES = {
    "pvae": "Build, train, load",
    "pvae.data": "Data sets",
    "pvae.priors": "Priors",
    "pvae.likelihoods": "Likelihoods",
    "pvae.posteriors": "Posteriors",
    "pvae.classifiers": "Classifiers",
    "pvae.weights": "Uncertain weights",
    "pvae.networks": "Networks",
    "pvae.objectives": "Objectives",
    "pvae.evaluation": "Evaluation",
    "pvae.studies": "Studies",
    "pvae.explore": "The explorer",
    "pvae.plots": "Plots",
    "pvae.inference": "Compiled SVI",
    "pvae.training": "Training",
    "pvae.distributions": "Distributions",
    "pvae.interfaces": "The contract of a part",
}


def pages() -> dict[str, str]:
    """The sources of the pages, and their table of contents."""
    entries = "\n".join(f"/_generated/api/{package}" for package in PACKAGES)
    contents = f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"
    made = {f"api/{package}.rst": _page(package, title) for package, title in PACKAGES.items()}
    return made | {"fragments/api.md": contents}


def _page(package: str, title: str) -> str:
    module = importlib.import_module(package)
    heading = f"{title}: {package}"
    text = f"{heading}\n{'=' * len(heading)}\n\n.. automodule:: {package}\n   :no-members:\n\n"
    return text + "\n".join(_entry(module, name) for name in public_names(module))


def public_names(module: ModuleType) -> list[str]:
    """The public names of a package, without the packages within it."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]
    return [name for name in names if not inspect.ismodule(getattr(module, name))]


def _entry(module: ModuleType, name: str) -> str:
    value = getattr(module, name)
    path = f"{module.__name__}.{name}"
    if inspect.isclass(value):
        return f".. autoclass:: {path}\n   :members:\n   :special-members: __call__\n"
    if callable(value):
        return f".. autofunction:: {path}\n"
    return f".. autodata:: {path}\n"
