"""The site builds without a warning, and every link within it leads somewhere."""

import importlib
import os
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import pvae
from tests.processes import forked
from tutorials.pages import gallery, reference

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The anchors of a page, and what it links to or shows."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.targets = set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        self.targets |= {attributes[name] for name in ("href", "src") if attributes.get(name)}


def build(folder, said):
    """Build the site as `python -m sphinx` does; return the exit status."""
    from sphinx.cmd.build import build_main

    os.chdir(ROOT)
    with said.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        return build_main(["-W", "-q", "tutorials", str(folder)])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    said = folder / "said.txt"
    assert forked(build, folder, said) == 0, said.read_text()
    return folder


def test_every_link_within_the_site_leads_somewhere(site):
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]  # not templates
    pages = {path.resolve(): Page(path) for path in paths}
    broken = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or target in ("#", ""):
                continue
            found = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[found].anchors if found in pages else set()
            if not found.exists() or (
                parts.fragment and found in pages and unquote(parts.fragment) not in anchors
            ):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert not broken


def test_the_site_has_every_public_name_and_every_option(site):
    for package in reference.PACKAGES:
        entries = Page(site / "_generated" / "api" / f"{package}.html").anchors
        names = reference.public_names(importlib.import_module(package))
        assert names
        assert {f"{package}.{name}" for name in names} <= entries
    options = (site / "command_line.html").read_text(encoding="utf-8")
    for option in ("--latent_dim", "--warmup", "--seconds", "--trust"):
        assert option in options
    assert (site / "searchindex.js").exists()  # a script, which also loads from file://


@pytest.mark.parametrize("package", ["priors", "likelihoods", "posteriors", "objectives"])
def test_every_part_has_an_equation(package):
    module = getattr(pvae, package)
    parts = [getattr(module, name) for name in module.__all__]
    parts = [part for part in parts if part.__module__.startswith("pvae.")]
    assert parts
    assert not [part for part in parts if gallery.described(part)[1] is None]
