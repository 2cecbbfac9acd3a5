import math
from types import SimpleNamespace

import pytest
import torch

from pvae.evaluation import AIS, Bidirectional, evidence
from pvae.evaluation.batching import OutOfTime


class Clock:
    """A clock that advances only by work, on a machine of some speed."""

    def __init__(self, speed, gap, monkeypatch):
        self.now, self.speed, self.gap, self.done, self.ends = 0.0, speed, gap, [], math.inf
        monkeypatch.setattr(evidence, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(evidence, "ais", self.ais)
        monkeypatch.setattr(evidence, "bidirectional", self.bidirectional)
        monkeypatch.setattr(evidence, "_importance", lambda *args: None)
        monkeypatch.setattr(evidence, "_gradient_seconds", self.gradient)
        monkeypatch.setattr(evidence, "Trajectories", lambda *given: None)
        monkeypatch.setattr(evidence, "stop_after", self.stop_after)

    def stop_after(self, seconds):
        self.ends = self.now + seconds
        return torch.no_grad()

    def gradient(self, vae, x, y, chains, trajectories=None):
        return (1 + len(x) * chains / 100) / self.speed

    def work(self, passes, n, num_chains, num_steps):
        took = (
            passes * num_steps * evidence.LEAPFROG * self.gradient(None, range(n), None, num_chains)
        )
        self.now = min(self.now + took, self.ends)
        if self.now == self.ends:
            raise OutOfTime

    def ais(self, vae, x, y, num_chains, num_steps, **options):
        self.work(2, len(x), num_chains, num_steps)
        return AIS(*torch.ones(4, len(x)), torch.ones(len(x), 1))

    def bidirectional(self, vae, n, y, num_chains, num_steps, seed, **options):
        self.work(3, n, num_chains, num_steps)
        self.done.append((n, num_chains, num_steps, seed))
        gap = torch.full((n,), self.gap)
        return Bidirectional(torch.zeros(n), gap, gap, torch.zeros(n, 1))


@pytest.mark.parametrize("gap", [0.01, 1.0])
@pytest.mark.parametrize("speed", [100, 1000, 3000, 10_000, 100_000, 10**9])
def test_the_time_is_used_and_kept(speed, gap, monkeypatch):
    clock = Clock(speed, gap, monkeypatch)
    found = evidence.annealed(None, torch.zeros(100, 1), None, seed=3, seconds=60.0)
    assert clock.now <= 60
    assert clock.now > 40 or found["items"] == 100
    assert found["asked"] == 100
    assert found["sandwich"]["items"] == found["items"]
    chosen = [done for done in clock.done if done[1:3] == (found["num_chains"], found["num_steps"])]
    assert sum(items for items, *_ in chosen) == found["items"]
    assert len({seed for *_, seed in chosen}) == len(chosen)  # no draws are repeated


def test_a_wide_sandwich_takes_more_steps_and_a_narrow_one_more_data(monkeypatch):
    steps, items = {}, {}
    for gap in (0.01, 1.0):
        Clock(20_000, gap, monkeypatch)
        found = evidence.annealed(None, torch.zeros(1000, 1), None, seed=0, seconds=60.0)
        steps[gap], items[gap] = found["num_steps"], found["items"]
    assert steps[0.01] == 200 < steps[1.0]
    assert items[1.0] < items[0.01]


def test_without_a_bound_all_data_are_done(monkeypatch):
    Clock(1000, 0.01, monkeypatch)
    assert evidence.annealed(None, torch.zeros(60, 1), None, seed=0)["items"] == 60


def test_a_plan_that_does_not_hold_leaves_the_one_before(monkeypatch):
    clock = Clock(2000, 0.01, monkeypatch)
    plain = clock.gradient
    clock.gradient = lambda vae, x, y, chains, *_: (
        plain(vae, x, y, chains) * (1 if chains == 4 else 50)
    )
    found = evidence.annealed(None, torch.zeros(100, 1), None, seed=0, seconds=60.0)
    assert found["num_chains"] == 4
    clock = Clock(10, 0.01, monkeypatch)
    with pytest.raises(OutOfTime):
        evidence.annealed(None, torch.zeros(100, 1), None, seed=0, seconds=60.0)


def figures(log_prob, share=0.0):
    return {"log_prob": torch.tensor(log_prob), "items": len(log_prob), "pareto_k_above_0.7": share}


@pytest.mark.parametrize(
    ("share", "ais", "estimator", "reason"),
    [
        (0.0, -1.0, "importance", "k-hat is at most 0.7 for 4 of 4 items, so its error is known"),
        (0.5, -1.0, "ais", "on the same 2 items this one is higher by 1.000 nats"),
        (0.5, -2.5, "importance", "k-hat is above 0.7 for 50 % of the items, so both"),
        (None, -1.0, "ais", "no k-hat is known, so both estimates are lower bounds"),
    ],
)
def test_the_best_estimate_and_why(share, ais, estimator, reason):
    both = {"importance": figures([-2.0, -2.0, 9.0, 9.0], share), "ais": figures([ais, ais])}
    found = evidence.best(both)
    assert found["estimator"] == estimator
    assert reason in found["reason"]
    assert evidence.best({"ais": both["ais"]})["reason"] == "it is the only estimate"
    assert evidence.best({}) is None
