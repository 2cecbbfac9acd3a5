"""The documentation site: `python -m sphinx -W tutorials site`, without a network."""

from pathlib import Path
from typing import Any

import pvae
from tutorials.pages import commands, documents, gallery, notebooks, reference

FOLDER = Path(__file__).parent

project = "pvae"
author = "the pvae developers"
copyright = "the pvae developers"
version = release = pvae.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "tutorials.pages.equations",
]
root_doc = "index"
exclude_patterns = ["pages", "_generated/fragments", "**/.ipynb_checkpoints"]
default_role = "py:obj"  # in docstrings; what has no entry stays code

nb_execution_mode = "off"  # notebooks hold their outputs
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Shape", "params_style")]
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

html_math_renderer = "mathtext"
html_theme = "pydata_sphinx_theme"
html_title = "pvae"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"gallery": [], "_generated/results": [], "index": []}
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_align": "left",
}


def write_pages(app: object) -> None:
    """Write the pages made from the code; unchanged ones keep their time, and are not read anew."""
    for module in (commands, documents, gallery, notebooks, reference):
        for name, content in module.pages().items():
            path = FOLDER / "_generated" / name
            content = content if isinstance(content, bytes) else content.encode()
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def skip_fields(
    app: object, what: str, name: str, obj: object, skip: bool, options: object
) -> bool | None:
    """Leave out the fields of a named tuple, which its docstring describes."""
    return True if "Alias for field number" in (getattr(obj, "__doc__", None) or "") else None


def keep_outputs_inside(app: Any) -> None:
    """Have myst-nb unpack outputs within the site, rather than next to it."""
    folder = str(Path(app.doctreedir) / "outputs")
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=folder)


def setup(app: Any) -> None:
    """Make the pages before Sphinx looks for sources."""
    app.connect("builder-inited", write_pages)
    app.connect("builder-inited", keep_outputs_inside, priority=900)  # after myst-nb's own
    app.connect("autodoc-skip-member", skip_fields)
