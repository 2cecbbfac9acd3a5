"""Equations are written in the TeX that matplotlib reads, and drawn as they are sized."""

import pytest

from tutorials.pages.equations import picture, simplified


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"\frac12 + \tfrac1\alpha", [r"\frac{1}{2} + \frac{1}{\alpha}"]),
        (r"\dfrac{a}b", [r"\frac{a}{b}"]),
        (r"\sqrt d + \sqrt{x}", [r"\sqrt{d} + \sqrt{x}"]),
        (r"z \sim \mathcal N(0, 1)", [r"z \sim \mathcal{N}(0, 1)"]),
        (r"a \le b \ne c", [r"a \leq b \neq c"]),
        (r"\text{two words}", [r"\mathrm{two\ words}"]),
        (r"\Bigl( x \bigr)", ["( x )"]),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", ["a = b", "c = d"]),
        (r"\sum_{i=1}^n x_i", [r"\sum_{i=1}^n\, x_i"]),
        (r"\underbrace{a_{i} b}_{\text{one}} + c", [r"\underset{\mathrm{one}}{a_{i} b} + c"]),
        (r"\left( x \right)", [r"\left( x \right)"]),
    ],
)
def test_tex_is_simplified_to_what_can_be_drawn(tex, expected):
    lines = simplified(tex)
    assert lines == expected
    assert all(picture(line).startswith("<svg") for line in lines)


def test_a_picture_is_as_wide_as_its_letters_and_named_for_readers():
    one, two = (float(picture(tex).split("width:")[1].split("em")[0]) for tex in ("x", "x x"))
    assert two > 1.5 * one
    assert 'aria-label="x &lt; 1"' in picture("x < 1")


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="nothing"):
        picture(r"\nothing")
