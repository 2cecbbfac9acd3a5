"""The gallery of parts: each with the first sentence and the equation of its docstring."""

import inspect
import re

from pvae.annotations import KINDS

HEADINGS = {
    "prior": ("Priors", "p(z)"),
    "likelihood": ("Likelihoods", "p(x|z)"),
    "posterior": ("Posteriors", "q(z|x)"),
    "classifier": ("Classifiers", "q(y|x)"),
    "network": ("Networks", "encoders and decoders"),
    "objective": ("Objectives", "what is minimized"),
    "weights": ("Uncertain weights", "q(w) for the weights of any parts"),
    "weights.prior": ("Priors over weights", "p(w)"),
    "optimizer": ("Samplers of weights", "optimizers that draw"),
}


def pages() -> dict[str, str]:
    """A section for each kind of part."""
    import torch  # noqa: F401  (the kinds list their parts once it is imported)

    text = ""
    for kind, (heading, what) in HEADINGS.items():
        text += f"\n## {heading}: {what}\n\n::::{{grid}} 1 1 2 2\n:gutter: 3\n\n"
        for part in sorted(KINDS[kind].__subclasses__(), key=lambda c: c.__name__):
            if part.__module__.startswith("pvae."):
                text += _card(KINDS[kind].own or KINDS[kind].package, part)
        text += "::::\n"
    return {"fragments/gallery.md": text}


def _card(package: str, part: type) -> str:
    summary, equation = described(part)
    body = _markdown(summary)
    if equation:
        lines = re.sub(r",\s*\\q?quad\b\s*", r" \\\\\n", equation)  # a card is narrow
        body += f"\n\n$$\n{lines}\n$$"
    link = f"{{py:class}}`~{package}.{part.__name__}`"
    return f":::{{grid-item-card}} {link}\n{body}\n:::\n\n"


def described(part: type) -> tuple[str, str | None]:
    """The first paragraph of a part's docstring, and its first equation if it has one."""
    text = inspect.getdoc(part) or ""
    summary = " ".join(text.split("\n\n")[0].split())
    found = re.search(r"\.\. math::\n\s*\n?((?:[ ]+.*\n|\n(?=[ ]))+)", text + "\n")
    return summary, inspect.cleandoc(found[1]).strip() if found else None


def _markdown(text: str) -> str:
    """Markdown of a sentence of reStructuredText."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text)
    return text.replace("``", "`").replace("\\*", "*")
