"""The documents of the repository outside of this folder, with their links as the site has them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    "results.md": "results/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def pages() -> dict[str, str]:
    """The sources of the pages."""
    return {name: _page(ROOT / source) for name, source in DOCUMENTS.items()}


def _page(path: Path) -> str:
    def replace(found: re.Match) -> str:
        picture, text, target = found.groups()
        target, _, anchor = target.partition("#")
        return f"{picture}[{text}]({site_path(path.parent / target)}{anchor and '#' + anchor})"

    return LINK.sub(replace, path.read_text(encoding="utf-8"))


def site_path(path: Path) -> str:
    """What to link to for a file of the repository, from a made page."""
    path = path.resolve()
    for name, source in DOCUMENTS.items():
        if path in ((ROOT / source), (ROOT / source).parent) and path != ROOT:
            return name
    if path == ROOT / "README.md":
        return "/index.md"
    return f"../../{path.relative_to(ROOT)}"
