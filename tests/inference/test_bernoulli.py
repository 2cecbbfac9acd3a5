import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pvae.inference.bernoulli import draw_as_torch_does


def test_the_draws_of_a_graph_are_those_of_torch():
    def draw(p):
        return torch.bernoulli(p), torch.empty_like(p).bernoulli_(0.3), torch.zeros(9).bernoulli_()

    p = torch.linspace(0, 1, 9)
    module = make_fx(draw)(p)
    draw_as_torch_does(module)
    own = [n for n in module.graph.nodes if "pvae" in str(n.target)]
    assert len(own) == 3
    torch.manual_seed(0)
    expected = draw(p)
    torch.manual_seed(0)
    assert all(map(torch.equal, module(p), expected))
