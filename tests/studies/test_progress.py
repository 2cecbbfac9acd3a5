import time
from types import SimpleNamespace

import pytest

from pvae.studies import progress
from pvae.studies.progress import Progress


@pytest.fixture
def jobs(tmp_path):
    """Two runs that are under way, and one that has not begun."""
    found = [SimpleNamespace(cell=name, seed=0, place=f"runs/{name}") for name in "abc"]
    (tmp_path / "runs").mkdir()
    for job in found[:2]:
        (tmp_path / job.place).with_suffix(".log").write_text("epoch 1/9: 31.2 nats\n\n")
    return found


def test_in_a_log_file_lines_are_printed_once(jobs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress(tmp_path, total=5, left=3, show=True) as shown:
        shown.update(jobs)
        first = capsys.readouterr().err
        assert first == "a, seed 0: epoch 1/9: 31.2 nats\nb, seed 0: epoch 1/9: 31.2 nats\n"
        (tmp_path / "runs/a.log").write_text("epoch 2/9: 30.1 nats\n")
        shown.update(jobs)
        assert capsys.readouterr().err == "a, seed 0: epoch 2/9: 30.1 nats\n"
        shown.update(jobs)
        assert capsys.readouterr().err == ""
        shown.finished(jobs[0], None)
        shown.finished(jobs[1], "latent_dim is 0.")
        said = "3 of 5: a, seed 0: done\n4 of 5: b, seed 0: latent_dim is 0.\n"
        assert capsys.readouterr().err == said


def test_lines_are_seldom(jobs, tmp_path, capsys):
    with Progress(tmp_path, total=3, left=3, show=True) as shown:
        shown.update(jobs)
        assert capsys.readouterr().err == ""
        shown.printed = time.monotonic() - 11
        shown.update(jobs)
        assert len(capsys.readouterr().err.splitlines()) == 2


def test_in_a_terminal_there_is_a_line_for_each_run_and_the_whole(jobs, tmp_path, monkeypatch):
    bars = []

    class Bar:
        disable = False
        closed, count, text = False, 0, ""

        def __init__(self, **options):
            bars.append(self)

        def update(self):
            self.count += 1

        def set_description_str(self, text):
            self.text = text

        def close(self):
            self.closed = True

    monkeypatch.setattr(progress, "bar", Bar)
    with Progress(tmp_path, total=3, left=3, show=True) as shown:
        shown.update(jobs)
        assert [bar.text for bar in bars[1:]] == [
            "a, seed 0: epoch 1/9: 31.2 nats",
            "b, seed 0: epoch 1/9: 31.2 nats",
        ]
        shown.finished(jobs[0], None)
        shown.update(jobs[1:])
        assert [bar.text for bar in bars[1:]] == ["b, seed 0: epoch 1/9: 31.2 nats", ""]
        assert bars[0].count == 1
    assert all(bar.closed for bar in bars)


def test_nothing_is_shown_where_nothing_is_asked_for(jobs, tmp_path, capsys):
    with Progress(tmp_path, total=3, left=3, show=False) as shown:
        shown.update(jobs)
        shown.finished(jobs[0], None)
    assert capsys.readouterr().err == ""
