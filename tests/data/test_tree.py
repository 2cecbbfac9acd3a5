import pytest
import torch

import pvae
from pvae.data import tree


def test_distances_are_numbers_of_edges():
    _, _, distances = tree(depth=2, copies=1)
    # Nodes 0; 1, 2; 3, 4 below 1; 5, 6 below 2.
    assert distances[0].tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert distances[3].tolist() == [2, 1, 3, 0, 2, 4, 4]
    assert torch.equal(distances, distances.T)


def test_squared_distances_grow_with_edges():
    x, nodes, distances = tree(depth=3, dim=5000, copies=2, noise=0.0)
    y = x[:15]
    assert torch.equal(x[15:], y)
    assert nodes.tolist() == [*range(15)] * 2
    square = torch.cdist(y, y).square()
    rate = square[0, 1]
    torch.testing.assert_close(square, rate * distances, rtol=0.1, atol=0.1 * float(rate))
    assert float(x.std()) == pytest.approx(1)


def test_by_name():
    data = pvae.data.load("tree", validation=0, test=0)
    assert data.domain == "reals"
    assert torch.equal(data.train.x, tree().x)
    assert data.train.y.bincount().tolist() == [20, 40, 80, 160, 320, 640]
    assert data.classes[-1] == "level 5"


def test_seeds():
    assert torch.equal(tree(seed=1).x, tree(seed=1).x)
    assert not torch.equal(tree(seed=1).x, tree(seed=2).x)


@pytest.mark.parametrize(
    ("name", "value"), [("depth", 0), ("dim", 0), ("copies", 0), ("noise", -1)]
)
def test_what_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        tree(**{name: value})
