"""Equations as pictures within the page, by matplotlib: readable without a network.

MathJax would be loaded from elsewhere. Matplotlib's mathtext knows a part of TeX; `simplified`
writes the rest in terms of it, and an equation that mathtext still cannot read is a warning.
"""

import html
import re
from functools import cache
from typing import Any

import matplotlib
from docutils import nodes
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.mathtext import MathTextParser
from matplotlib.path import Path
from sphinx.util import logging

SIZE = 8.5  # the units of a path in one em of the text: its letters look as large
POINTS = 10  # the size of the letters in these units
DPI = 72  # at which a point is a unit
FONT = {"mathtext.fontset": "stix", "font.family": "STIXGeneral"}
LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
TERM = r"(\\[a-zA-Z]+|\w)"  # an argument without braces
SAME = (
    (r"\\(?:[bB]igg?[lrm]?|displaystyle|textstyle|limits|nonumber|!|:)(?![a-zA-Z])", ""),
    (r"\\[td]frac(?![a-zA-Z])", r"\\frac"),
    (rf"\\frac\s*{TERM}", r"\\frac{\1}"),
    (rf"\\frac(\{{[^{{}}]*\}})\s*{TERM}", r"\\frac\1{\2}"),
    (rf"\\(sqrt|mathcal|mathbb|mathbf|mathrm)\s*{TERM}", r"\\\1{\2}"),
    (r"\\(l|g|n)e(?![a-zA-Z])", r"\\\1eq"),
    (r"\\(?:text|textrm|operatorname|mathop)\*?\{([^{}]*)\}", r"\\mathrm{\1}"),
    (r"\\(?:lVert|rVert|Vert)(?![a-zA-Z])", r"\\|"),
    (r"\\(?:lvert|rvert|vert|mid)(?![a-zA-Z])", "|"),
    (r"\\to(?![a-zA-Z])", r"\\rightarrow"),
    (r"(\\(?:sum|prod|int)(?:[_^](?:\{[^{}]*\}|\\?\w))*)", r"\1\\,"),
)


def simplified(tex: str) -> list[str]:
    """The lines of an equation in the TeX of mathtext."""
    tex = re.sub(r"\\(?:begin|end)\{(?:aligned|align\*?|split|gathered|equation\*?)\}", "", tex)
    for pattern, replacement in SAME:
        tex = re.sub(pattern, replacement, tex)
    tex = _labelled(tex)
    # Spaces within upright words are kept.
    tex = re.sub(r"\\mathrm\{[^{}]*\}", lambda word: word[0].replace(" ", r"\ "), tex)
    lines = re.split(r"\\\\(?:\[[^\]]*\])?", tex)
    return [" ".join(line.replace("&", " ").split()) for line in lines if line.strip(" &\n")]


def _labelled(tex: str) -> str:
    """Underbraces as terms with their labels below."""
    while (start := tex.find(r"\underbrace{")) >= 0:
        middle = _end_of_group(tex, tex.index("{", start))
        end = _end_of_group(tex, tex.index("{", middle))
        term, label = tex[tex.index("{", start) : middle], tex[tex.index("{", middle) : end]
        tex = f"{tex[:start]}\\underset{label}{term}{tex[end:]}"
    return tex


def _end_of_group(tex: str, start: int) -> int:
    """Where the group that opens at start ends."""
    depth = 0
    for i in range(start, len(tex)):
        depth += {"{": 1, "}": -1}.get(tex[i], 0)
        if depth == 0:
            return i + 1
    raise ValueError(f"A brace is not closed: {tex}")


@cache
def picture(tex: str) -> str:
    """An SVG of a line of TeX, sized in em and aligned to the baseline.

    Raises:
        ValueError: if mathtext cannot read it.
    """
    with matplotlib.rc_context(FONT):
        parsed = MathTextParser("path").parse(f"${tex}$", DPI, FontProperties(size=POINTS))
    width, height, depth, glyphs, bars = parsed
    drawn = ""
    for font, size, _, glyph, x, y in glyphs:
        place = f"translate({x:.2f} {y:.2f}) scale({size / POINTS:.3g})"
        drawn += f'<path transform="{place}" d="{outline(font, glyph)}"/>'
    for x, y, w, h in bars:
        drawn += f'<rect x="{x:.2f}" y="{y:.2f}" width="{w:.2f}" height="{h:.2f}"/>'
    margin = 0.1 * SIZE
    left, top = -margin, depth - height - margin
    box = f"{left:.2f} {top:.2f} {width + 2 * margin:.2f} {height + 2 * margin:.2f}"
    style = (
        f"width:{width / SIZE + 0.2:.3f}em;height:{height / SIZE + 0.2:.3f}em;"
        f"vertical-align:{-depth / SIZE - 0.1:.3f}em"
    )
    return (
        f'<svg class="equation" role="img" aria-label="{html.escape(tex)}" viewBox="{box}" '
        f'style="{style}"><g transform="scale(1,-1)" fill="currentColor">{drawn}</g></svg>'
    )


OUTLINES: dict[tuple[str, int], str] = {}


def outline(font: FT2Font, glyph: int) -> str:
    """The outline of a glyph in the path language of SVG."""
    if (font.fname, glyph) not in OUTLINES:
        font.clear()
        font.set_size(POINTS, DPI)
        font.load_glyph(glyph, flags=LoadFlags.NO_HINTING)
        drawn = ""
        for corner, code in Path(*font.get_path()).iter_segments(simplify=False, curves=True):
            numbers = " ".join(f"{number:.2f}".rstrip("0").rstrip(".") for number in corner)
            drawn += "Z" if code == Path.CLOSEPOLY else LETTERS[code] + numbers
        OUTLINES[font.fname, glyph] = drawn
    return OUTLINES[font.fname, glyph]


def visit(translator: Any, node: nodes.Element) -> None:
    """Write an equation: within a line, or in lines of its own."""
    lines = []
    for tex in simplified(node.astext()):
        try:
            lines.append(picture(tex))
        except ValueError as error:
            reason = str(error).strip().splitlines()[-1]
            logging.getLogger(__name__).warning("mathtext: %s: %s", tex, reason, location=node)
    if isinstance(node, nodes.math_block):
        lines = [f"<div>{line}</div>" for line in lines]
        translator.body.append(f'<div class="equations">{"".join(lines)}</div>')
    else:
        translator.body.append("".join(lines))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathtext", (visit, None), (visit, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
