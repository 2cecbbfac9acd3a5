"""Tables in Markdown and LaTeX, from the texts of their columns."""

import re
from collections.abc import Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: with its unit.
        cells: the text of each row.
        best: the rows in bold.
        over: a heading over several columns, empty for none.
    """

    heading: str
    cells: list[str]
    best: frozenset[int] = frozenset()
    over: str = ""


def _flat(text: str) -> str:
    """Text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


# Markdown -----------------------------------------------------------------------------------------


def markdown_table(columns: Sequence[Column]) -> str:
    """A table in Markdown, with what is over several headings before the first of them."""
    headings, sides = [], []
    for i, column in enumerate(columns):
        first = column.over and (i == 0 or columns[i - 1].over != column.over)
        heading = f"{column.over}: {column.heading}" if first else column.heading
        headings.append(markdown_text(heading))
        sides.append("---:" if _numeric(column) else ":---")
    rows = [
        [
            f"**{markdown_text(c.cells[i])}**" if i in c.best else markdown_text(c.cells[i])
            for c in columns
        ]
        for i in range(len(columns[0].cells))
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, sides, *rows])


def _numeric(column: Column) -> bool:
    return column.heading not in ("cell", "row", "the paper also says", "verdict", "reason")


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, within a table too."""
    text = re.sub(r"[\\`*<|~$&\[]", lambda found: "\\" + found[0], _flat(text))
    # Within words it is no emphasis.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


# LaTeX --------------------------------------------------------------------------------------------

_GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "varepsilon",
    "η": "eta",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "ν": "nu",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "φ": "varphi",
    "χ": "chi",
    "ψ": "psi",
    "ω": "omega",
    "Δ": "Delta",
    "Σ": "Sigma",
    "Φ": "Phi",
    "Ω": "Omega",
}
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "–": r"\textendash{}",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    **{letter: rf"$\{name}$" for letter, name in _GREEK.items()},
}
_MATHS = {"E[log p(x|z)]": r"$\mathrm{E}[\log p(x|z)]$", "log p(x)": r"$\log p(x)$"}


def latex_table(columns: Sequence[Column], caption: str, wide_last: bool = False) -> str:
    """A table in LaTeX with rules of booktabs; a wide last column has lines of text."""
    sides = ["r" if _numeric(column) else "l" for column in columns]
    if wide_last:
        sides[-1] = r"p{0.6\linewidth}"
    spread = _latex_spread(columns)
    rows = []
    for i in range(len(columns[0].cells)):
        texts = [latex_text(column.cells[i]) for column in columns]
        bold = [
            rf"\textbf{{\boldmath {t}}}" if i in c.best else t
            for t, c in zip(texts, columns, strict=True)
        ]
        row = " & ".join(bold) + r" \\"
        # Else a bracket or star would be an argument of the line break before it.
        rows.append("{}" + row if row[0] in "[*" else row)
    headings = " & ".join(_latex_heading(column.heading) for column in columns) + r" \\"
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\begin{{tabular}}{{{''.join(sides)}}}",
            r"\toprule",
            *spread,
            headings,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_heading(text: str) -> str:
    return "$p$" if text == "p" else latex_text(text)


def _latex_spread(columns: Sequence[Column]) -> list[str]:
    """The headings over several columns, with their rules."""
    if not any(column.over for column in columns):
        return []
    texts, rules, start = [], [], 0
    while start < len(columns):
        over = columns[start].over
        end = start + 1
        while over and end < len(columns) and columns[end].over == over:
            end += 1
        if over:
            texts.append(rf"\multicolumn{{{end - start}}}{{c}}{{{latex_text(over)}}}")
            rules.append(rf"\cmidrule(lr){{{start + 1}-{end}}}")
        else:
            texts.append("")
        start = end
    return [" & ".join(texts) + r" \\", "".join(rules)]


def latex_text(text: str) -> str:
    """Text that LaTeX shows as it is, with what is mathematics set as such."""
    text = _flat(text)
    parts = re.split("(" + "|".join(map(re.escape, _MATHS)) + ")", text)
    done = "".join(_MATHS.get(part) or "".join(_LATEX.get(c, c) for c in part) for part in parts)
    return done.replace("--", "-{}-")  # two hyphens, as in the name of an option, are no dash
