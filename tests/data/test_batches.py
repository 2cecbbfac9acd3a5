import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from functools import partial

import pytest
import torch

import pvae
import pvae.data.workers
from pvae.data import Batches, Dataset, ImageFiles, Part
from pvae.data.workers import in_advance

# Python 3.12 and later warn of the way in which torch starts workers on Linux by default.
forks = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def dataset():
    x = torch.randint(256, (50, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    return Dataset("noise", Part(x.to(torch.uint8)), "bytes", (0, 255))


@pytest.fixture
def streamed(tmp_path, save_image):
    """The same images as files and in memory."""
    paths = [str(tmp_path / f"{i:02}.png") for i in range(23)]
    x = torch.stack([torch.from_numpy(save_image(tmp_path / path, (6, 5))) for path in paths])
    files = ImageFiles(paths, (6, 5), channels=1)
    return (
        Dataset("files", Part(files), "bytes", (0, 255)),
        Dataset("files", Part(x.unsqueeze(1)), "bytes", (0, 255)),
    )


def batches(dataset, domain="bytes", batch_size=8, binarization="dynamic"):
    dataset = replace(dataset, binarization=binarization)
    return Batches(dataset, dataset.train, domain, batch_size)


def test_an_epoch_holds_every_item_once(dataset):
    drawn = list(batches(dataset).epoch())
    assert [len(x) for x in drawn] == [8] * 6 + [2]
    assert len(batches(dataset)) == len(drawn)
    assert all(x.dtype == torch.float32 for x in drawn)
    assert torch.equal(torch.cat(drawn), dataset.train.x.float())


def test_an_epoch_follows_the_order(dataset):
    order = torch.randperm(50)
    drawn = torch.cat(list(batches(dataset).epoch(order)))
    assert torch.equal(drawn, dataset.train.x[order].float())


@pytest.mark.parametrize("batch_size", [1, 8, 50])
def test_larger_batches_of_the_same_items(dataset, batch_size):
    drawn = batches(dataset, batch_size=batch_size)
    larger = drawn.at_least(20)
    assert [len(x) for x in larger.epoch()] == ([50] if batch_size == 50 else [20, 20, 10])
    assert torch.equal(torch.cat(list(larger.epoch())), dataset.train.x.float())
    assert drawn.batch_size == batch_size
    assert drawn.at_least(1000).batch_size == 50


@pytest.mark.parametrize("start", [0, 3, 6, 7])
def test_a_late_start_gives_the_tail_of_the_epoch(dataset, start):
    order = torch.randperm(50)
    whole = list(batches(dataset).epoch(order))
    tail = list(batches(dataset).epoch(order, start))
    assert len(tail) == len(whole) - start
    assert all(torch.equal(a, b) for a, b in zip(whole[start:], tail, strict=True))


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_thread_that_works_ahead_changes_nothing(dataset, start, monkeypatch):
    monkeypatch.setattr("pvae.data.batches._TOGETHER", 8 * dataset.train.x[0].numel())
    threads = set()

    def watch(values):
        def noting():
            for value in values:
                threads.add(threading.current_thread())
                yield value

        return in_advance(noting())

    monkeypatch.setattr("pvae.data.batches.in_advance", watch)
    batches = Batches(dataset, dataset.train, "binary", batch_size=8)
    order = torch.randperm(len(dataset.train))
    plain = list(batches.epoch(order, start, seed=3))
    assert not threads
    ahead = list(batches.epoch(order, start, seed=3, ahead=True))
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert len(plain) == len(batches) - start
    assert all(map(torch.equal, plain, ahead))


def test_a_pass_that_ends_early_leaves_no_thread(dataset, monkeypatch):
    monkeypatch.setattr("pvae.data.batches._TOGETHER", 1)
    before = threading.active_count()
    batches = Batches(dataset, dataset.train, "binary", batch_size=2)
    passing = batches.epoch(ahead=True)
    next(passing)
    assert threading.active_count() == before + 1
    passing.close()
    assert threading.active_count() == before


def test_an_error_of_the_thread_is_raised_where_the_batch_is_due():
    def values():
        yield 1
        raise OSError("gone")

    coming = in_advance(values())
    assert next(coming) == 1
    with pytest.raises(OSError, match="gone"):
        next(coming)


def test_batches_are_of_the_type_asked_for(dataset):
    drawn = Batches(dataset, dataset.train, "binary", 8, dtype=torch.float64)
    assert {x.dtype for x in (next(drawn.epoch()), drawn.head(2))} == {torch.float64}


def test_dynamic_binarization_draws_afresh_from_the_global_generator(dataset):
    drawn = batches(dataset, "binary", 50)
    torch.manual_seed(0)
    first, second = next(drawn.epoch()), next(drawn.epoch())
    torch.manual_seed(0)
    again = next(drawn.epoch())
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_static_binarization_is_one_draw_whatever_the_batches_and_the_seed(dataset):
    reference = next(batches(dataset, "binary", 50, "static").epoch())
    assert set(reference.unique().tolist()) == {0, 1}
    for batch_size in (1, 8, 50):
        torch.manual_seed(batch_size)
        state = torch.get_rng_state()
        drawn = batches(dataset, "binary", batch_size, "static")
        assert torch.equal(torch.get_rng_state(), state)
        for _ in range(2):
            assert torch.equal(torch.cat(list(drawn.epoch())), reference)
    order = torch.randperm(50)
    assert torch.equal(torch.cat(list(drawn.epoch(order))), reference[order])


def test_static_binarization_has_the_right_mean(dataset):
    x = torch.full((3000, 1, 4, 4), 64, dtype=torch.uint8)
    mean = next(batches(replace(dataset, train=Part(x)), "binary", 3000, "static").epoch()).mean()
    assert abs(mean - 64 / 255) < 5 * (0.25 * 0.75 / 48_000) ** 0.5


def test_static_binarization_leaves_other_domains_alone(dataset):
    drawn = torch.cat(list(batches(dataset, "bytes", 8, "static").epoch()))
    assert torch.equal(drawn, dataset.train.x.float())


def test_the_head_is_the_same_at_each_call(dataset):
    drawn = batches(dataset, "binary")
    state = torch.get_rng_state()
    assert torch.equal(drawn.head(5), drawn.head(5))
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn.head(5).shape == (5, 1, 4, 4)
    assert len(drawn.head(1000)) == 50


@forks
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("domain", "binarization"), [("bytes", "dynamic"), ("binary", "threshold")]
)
def test_files_give_what_memory_gives(streamed, domain, binarization, workers, monkeypatch):
    monkeypatch.setattr(pvae.data.batches, "worker_count", lambda items: workers)
    files, memory = (batches(d, domain, 5, binarization) for d in streamed)
    order = torch.randperm(23)
    state = torch.get_rng_state()
    for start in (0, 3):
        pairs = zip(files.epoch(order, start, 0), memory.epoch(order, start, 0), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(files.head(4), memory.head(4))
    assert len(files) == len(memory) == 5


@forks
@pytest.mark.parametrize("workers", [0, 2])
def test_files_are_binarized_once_by_their_index(streamed, workers, monkeypatch):
    reference = next(batches(streamed[0], "binary", 23, "static").epoch())
    monkeypatch.setattr(pvae.data.batches, "worker_count", lambda items: workers)
    drawn = batches(streamed[0], "binary", 4, "static")
    order = torch.randperm(23)
    assert torch.equal(torch.cat(list(drawn.epoch(order))), reference[order])
    assert torch.equal(drawn.head(3), reference[:3])


@forks
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("domain", ["binary", "reals"])
def test_an_interrupted_epoch_can_be_resumed(streamed, kind, domain, monkeypatch):
    monkeypatch.setattr(pvae.data.batches, "worker_count", lambda items: 1)
    monkeypatch.setattr(pvae.data.batches, "_TOGETHER", 8 * 2 * 30)  # 8 batches of 2 of 30 values
    order = torch.randperm(23)
    drawn = batches(streamed[kind], domain, 2)
    state = torch.get_rng_state()
    whole = list(drawn.epoch(order, seed=7))
    for start in (0, 2, 8, 11):  # inside a chunk that is converted, and at its edge
        resumed = list(drawn.epoch(order, start, seed=7))
        assert all(torch.equal(a, b) for a, b in zip(whole[start:], resumed, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    other = list(drawn.epoch(order, seed=8))
    assert not any(torch.equal(a, b) for a, b in zip(whole, other, strict=True))


@forks
def test_workers_leave_interrupts_to_the_main_process(streamed, monkeypatch):
    monkeypatch.setattr(pvae.data.batches, "worker_count", lambda items: 1)
    epoch = batches(streamed[0], batch_size=2).epoch()
    drawn = [next(epoch)]
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)
    drawn += list(epoch)
    assert torch.equal(torch.cat(drawn), streamed[1].train.x.float())


@pytest.mark.parametrize("batch_size", [0, -1, 51])
def test_impossible_batch_sizes(dataset, batch_size, fails):
    with fails(ValueError, f"batch_size={batch_size}", "50"):
        batches(dataset, batch_size=batch_size)


def test_an_empty_part(dataset, fails):
    with fails(ValueError, "empty"):
        Batches(dataset, dataset.train.subset([]), "bytes", 1)


def test_a_domain_that_the_data_cannot_take(dataset, fails):
    with fails(ValueError, "real numbers from -1 to 1", "the likelihood needs bytes"):
        batches(replace(dataset, domain="reals", value_range=(-1, 1)))


def test_a_batch_is_as_the_vae_takes_it():
    data = pvae.data.load("digits")
    vae = pvae.build(data.event_shape, 2).double()
    state = torch.get_rng_state()
    x = data.batch(vae, "validation", n=5, seed=1)
    assert x.dtype == torch.float64
    assert x.shape == (5, 1, 8, 8)
    assert x.unique().tolist() == [0, 1]
    assert torch.equal(x, data.batch(vae, "validation", n=5, seed=1))
    assert not torch.equal(x, data.batch(vae, "validation", n=5, seed=2))
    assert torch.equal(torch.get_rng_state(), state)
    levels = partial(pvae.likelihoods.Categorical, levels=17)
    whole = data.batch(pvae.build(data.event_shape, 2, likelihood=levels))
    assert torch.equal(whole, data.test.x.float())  # all of them, in their order
    labelled = pvae.build(data.event_shape, 2, conditional=True, classes=10)
    x, y = data.batch(labelled, n=1000)
    assert len(x) == len(y) == len(data.test)
    assert sorted(y.tolist()) == sorted(data.test.y.tolist())
    assert labelled.encode(x, y).batch_shape == (180,)
