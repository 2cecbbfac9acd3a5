import csv as csv_files
import io
import json
import math
import re
from dataclasses import replace

import pytest

from pvae.studies.statistics import over_seeds
from pvae.studies.tables import csv, latex, markdown, role_of, write
from tests.studies.cases import METRICS, results, seeds, study

ODD = "_odd_ | 50 % & [x] {y} #1 $z$ ~a^b\\c <d> `e` --f *g* λ−\n漢"


def rows(text):
    """The cells of each row of all Markdown tables, escapes undone."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]


def records(text):
    return [*csv_files.DictReader(io.StringIO(text))]


def check_latex(text):
    """Braces are balanced, and every row of a table has as many cells as the table has columns."""
    plain = re.sub(r"\\[{}&%$#_]", "", text)
    depth = 0
    for letter in plain:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert plain.count("$") % 2 == 0
    assert text.isascii() or set(re.sub("[ -~\n]", "", text)) <= set("漢")
    tables = re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", plain, re.S)
    assert len(tables) == text.count(r"\begin{table}") == text.count(r"\end{table}")
    for columns, body in tables:
        n = len(re.sub(r"p\{[^}]*\}", "p", columns))
        for line in body.splitlines():
            if line.endswith(r"\\"):
                spread = sum(int(k) - 1 for k in re.findall(r"\\multicolumn\{(\d+)\}", line))
                assert line.count("&") + 1 + spread == n
    return tables


def test_a_short_table():
    found = results({"a": seeds(30), "b": seeds(29)}, metrics=("neg_elbo",), baseline="a")
    note = "\nAverages over items of the test data, random draws of seed 0.\n"
    assert markdown(found).removesuffix(note) == (
        "**digits, 200 of 200 items (1, 8, 8): binary values, dynamic binarization**\n\n"
        "Mean ± standard error over seeds; 95 % t intervals are ± 4.30 standard errors of 3 "
        "seeds.\n\n"
        "| cell | seeds | test −ELBO (nats) ↓ | parameters | time (s) |\n"
        "| :--- | ---: | ---: | ---: | ---: |\n"
        "| a | 3 | 29.59 ± 0.04 | 1,234,567 | 61.2 |\n"
        "| b | 3 | **28.62 ± 0.03** | 1,234,567 | 61.2 |\n\n"
        "Paired differences from the reference with 95 % intervals over seeds and items, and p "
        "values adjusted for the number of cells (Holm).\n\n"
        "| cell | test −ELBO (nats): difference | p | verdict |\n"
        "| :--- | ---: | ---: | :--- |\n"
        "| a | – | – | baseline |\n"
        "| b | −0.97 \\[−1.02, −0.91] | \\<0.001 | better |\n"
    )


def test_names_of_any_characters_are_shown_as_they_are():
    found = results({ODD: seeds(30), "[first]": ["a_b | failed: 5 %", *seeds(29)[1:]]})
    names = {row[0] for row in rows(markdown(found))}
    assert {" ".join(ODD.split()), "[first]"} <= names
    assert "a_b | failed: 5 %" in {row[-1] for row in rows(markdown(found))}
    check_latex(latex(found))
    assert "\n[" not in latex(found)
    assert {record["cell"] for record in records(csv(found))} == {ODD, "[first]"}


def test_all_tables_have_even_rows():
    found = results({"a": seeds(30), "b": seeds(29, n=1), "c": ["It diverged."] * 3})
    widths = {len(row) for row in rows(markdown(found))}
    assert widths == {8, 3}
    assert len(check_latex(latex(found))) == 4
    assert len({len(row) for row in csv_files.reader(io.StringIO(csv(found)))}) == 1


def test_what_does_not_compare_is_in_tables_of_its_own():
    cells = {"a": seeds(30), "b": seeds(29), "c": seeds(-300, values="grey")}
    found = results(cells)
    text = markdown(found)
    assert text.count("test −ELBO (nats) ↓") == 2
    values = [row for row in rows(text) if row[0] in cells and len(row) == 8 and row[1] == "3"]
    # A cell that nothing compares with is not the best, and has no differences.
    assert ["**" in row[2] for row in values] == [False, True, False]
    assert text.count("Paired differences") == 1
    assert [len(group) for group in found.comparable("neg_elbo")] == [2, 1]
    assert [len(group) for group in found.comparable("bits_per_dim")] == [3]


def test_the_reference_is_called_the_baseline_or_the_best():
    cells = {"a": seeds(30), "b": seeds(29), "c": seeds(31)}
    assert [role_of(results(cells), "neg_elbo", name) for name in cells] == ["", "best", ""]
    named = results(cells, baseline="c")
    assert [role_of(named, "neg_elbo", name) for name in cells] == ["", "", "baseline"]
    assert role_of(named, "kl", "c") == ""
    assert [record["neg_elbo verdict"] for record in records(csv(named))] == [
        "better",
        "better",
        "baseline",
    ]


def test_ties_are_all_in_bold_unless_nothing_differs():
    cells = {"a": seeds(29), "b": seeds(29), "c": seeds(30)}
    text = markdown(results(cells, metrics=("neg_elbo",)))
    values = [row for row in rows(text) if len(row) == 5][2:]
    assert ["**" in row[2] for row in values] == [True, True, False]
    assert "equal" in text
    del cells["c"]
    assert "**28" not in markdown(results(cells, metrics=("neg_elbo",)))


def test_one_seed_has_no_error_and_no_verdict():
    text = markdown(results({"a": seeds(30, n=1), "b": seeds(29, n=1)}))
    assert "One seed a cell, so that no error over seeds is known." in text
    assert "±" not in text.split("Paired")[0]
    assert "one seed" in {row[3] for row in rows(text) if len(row) == 8}


def test_a_missing_value_is_a_dash_and_never_the_best():
    found = results({"a": seeds(30), "b": seeds(29)}, metrics=("neg_elbo",))
    none = replace(found.cells[1], estimates={"neg_elbo": over_seeds([math.nan])})
    found = replace(found, cells=(found.cells[0], none), comparisons=())
    for text in (markdown(found), latex(found), csv(found)):
        assert "nan" not in text
    values = [row for row in rows(markdown(found)) if len(row) == 5][2:]
    assert [row[2] for row in values] == ["29.59 ± 0.04", "–"]
    assert records(csv(found))[1]["neg_elbo mean (nats)"] == ""


def test_infinite_values_are_shown():
    found = results({"a": seeds(30), "b": seeds(29)}, metrics=("neg_elbo",))
    cell = replace(found.cells[0], estimates={"neg_elbo": over_seeds([math.inf])})
    found = replace(found, cells=(cell, found.cells[1]), comparisons=())
    assert "| ∞ |" in markdown(found)
    check_latex(latex(found))


def test_errors_that_round_to_zero_are_not_called_zero():
    text = markdown(results({"a": seeds(30, spread=1e-4), "b": seeds(29)}, metrics=("kl",)))
    assert "7.50 ± \\<0.01" in text


def test_failed_and_unfinished_runs_are_in_the_last_part():
    cells = {"a": seeds(30), "b": [*seeds(29)[:2], "It diverged."], "c": ["No memory."], "d": []}
    found = results(cells)
    text = markdown(found)
    assert ["b", "2", "It diverged."] in rows(text)
    assert ["c", "0", "No memory."] in rows(text)
    assert "2 (1 failed)" in text
    assert f"{found.comparisons[0].verdict} (2 of 3 seeds)" in text
    assert "Verdicts rest on fewer than 3 seeds" in text
    assert records(csv(found))[0]["neg_elbo seeds"] == "2"
    assert "Not finished: d." in text
    last = records(csv(found))[2]
    assert (last["cell"], last["failures"]) == ("c", "seed 0: No memory.")
    assert "No memory." in latex(found)


def test_only_failures():
    found = results({"a": ["No memory."], "b": ["No memory."]})
    assert [row[0] for row in rows(markdown(found))[2:]] == ["a", "b"]
    check_latex(latex(found))


def test_a_doubt_that_is_unknown_is_said_to_be():
    metrics = ("neg_elbo", "log_prob", "inference_gap")
    found = results({"a": seeds(30, k_hat=0.9), "b": seeds(29)}, metrics=metrics)
    text = markdown(found)
    assert "unknown" in text
    assert "doubt" in text
    assert text.count("of unknown error") == 2
    said = {c.metric: c.verdict for c in found.comparisons}
    assert said == {"neg_elbo": "worse", "log_prob": "undecided", "inference_gap": "undecided"}


def test_doubts_are_in_the_units_of_their_metrics():
    gaps = ("inference_gap", "approximation_gap", "amortization_gap")
    metrics = ("neg_elbo", "log_prob", "bits_per_dim", *gaps)
    found = results({"a": seeds(30), "b": seeds(29)}, metrics=metrics)
    doubts = {c.metric: c.doubt for c in found.comparisons}
    of_log_prob, of_gap = (2 * error / 200**0.5 for error in (0.05, 0.03))
    unrefined = 0.2 + 2 * 0.1 / 99**0.5
    assert doubts == pytest.approx(
        {
            "neg_elbo": 0.0,
            "log_prob": of_log_prob,
            "bits_per_dim": of_log_prob / 64 / math.log(2),
            "inference_gap": of_gap,
            "approximation_gap": of_gap + unrefined,
            "amortization_gap": unrefined,
        }
    )
    (last,) = (c for c in found.comparisons if c.metric == "amortization_gap")
    assert last.p_adjusted < 0.05  # 0.1 nats, which refinement may still change
    assert last.verdict == "undecided"


def test_a_metric_that_does_not_apply_to_a_cell_is_a_dash_and_said():
    cells = {"a": seeds(30, missing=("log_prob",)), "b": seeds(29), "c": seeds(28)}
    found = results(cells, metrics=("neg_elbo", "log_prob"))
    assert "It does not apply; leave it out. It holds for: a." in found.notes
    compared = {(c.metric, c.cell) for c in found.comparisons}
    assert compared == {("neg_elbo", "a"), ("neg_elbo", "b"), ("log_prob", "b")}
    (row,) = (row for row in rows(markdown(found)) if row[0] == "a" and row[1] == "3")
    assert row[3] == "–"
    check_latex(latex(found))


def test_metrics_without_a_doubt_are_named():
    found = results({"a": seeds(30), "b": seeds(29)}, metrics=("neg_elbo", "mig", "recall"))
    assert any(n.startswith("Verdicts on MIG; recall allow for") for n in found.notes)
    assert next(csv_files.DictReader(io.StringIO(csv(found))))["recall doubt"] == ""
    assert "no doubt" not in markdown(results({"a": seeds(30), "b": seeds(29)}))


def test_data_of_the_same_name_that_differ_do_not_compare():
    found = results({"a": seeds(30), "b": seeds(29), "c": seeds(28, fingerprint="b2")})
    assert [len(group) for group in found.comparable("neg_elbo")] == [2, 1]
    assert [len(group) for group in found.comparable("bits_per_dim")] == [2, 1]
    assert "items (1, 8, 8) (b2): binary" in markdown(found)


def test_a_baseline_without_a_finished_run_is_noted():
    cells = {"a": ["No memory."] * 3, "b": seeds(30), "c": seeds(29)}
    found = results(cells, baseline="a")
    noted = "baseline a has no finished run. The reference is the best cell instead"
    assert any(noted in note and note.endswith("it is: c.") for note in found.notes)
    assert "has no finished run" not in markdown(results(cells, baseline="b"))


def test_steps_that_whole_epochs_miss_are_noted():
    cells = {"a": seeds(30, steps=36.0), "b": seeds(29, steps=9.0)}  # in three epochs
    notes = " ".join(results(cells, steps=10).notes)
    assert "another number of steps than 10: a (12); b (9)." in notes
    assert "another number" not in " ".join(results(cells, steps=36).notes)


def test_seeds_that_no_two_cells_share_are_not_called_one_seed():
    found = results({"a": [*seeds(30, n=1), "No."], "b": ["No.", *seeds(29, n=1)]}, metrics=("kl",))
    assert not found.comparisons  # of what has no better direction
    found = results({"a": [*seeds(30, n=1), "No."], "b": ["No.", *seeds(29, n=1)]})
    assert {(c.verdict, c.seeds) for c in found.comparisons} == {("no common seed", 0)}


def test_time_is_in_units_that_suit():
    for seconds, heading, value in (
        (61, "time (s)", "61.0"),
        (600, "time (min)", "10.0"),
        (9000, "time (h)", "2.5"),
    ):
        text = markdown(results({"a": seeds(30, seconds=seconds), "b": seeds(29, seconds=1)}))
        assert heading in text
        assert f"| {value} |" in text


def test_csv_has_all_numbers_in_full():
    found = results({"a": seeds(30), "b": seeds(29)})
    first, second = records(csv(found))
    interval = found.cells[0].estimates["log_prob"]
    assert float(first["log_prob mean (nats)"]) == interval.mean
    assert float(first["log_prob high (nats)"]) == interval.high
    assert float(first["neg_elbo p"]) == found.comparisons[0].p_adjusted
    assert second["neg_elbo reference"] == second["cell"] == "b"
    assert "kl p" not in first


def test_files(tmp_path):
    made = study({ODD: seeds(30), "b": seeds(29)}, path=tmp_path)
    write(made, results({ODD: seeds(30), "b": seeds(29)}))
    assert {file.name for file in tmp_path.iterdir()} == {
        "table.md",
        "table.tex",
        "table.csv",
        "study.json",
    }
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "log p(x) is estimated by 500 importance samples" in text
    record = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert [cell["name"] for cell in record["cells"]] == [ODD, "b"]
    assert record["metrics"] == [*METRICS]


@pytest.mark.parametrize("n", [1, 60])
def test_any_number_of_cells(n):
    found = results({f"cell {i}": seeds(30 + i) for i in range(n)})
    check_latex(latex(found))
    assert len(records(csv(found))) == n
