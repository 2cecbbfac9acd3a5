"""The kinds of programs that Pyro's examples train by SVI, rewritten small, with data of their own.

Each entry of `EXAMPLES` makes model, guide, loss, and the arguments of the steps, which take turns.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.contrib import cevae, gp
from pyro.distributions import constraints
from pyro.infer import (
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    config_enumerate,
)
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal
from pyro.infer.autoguide.initialization import init_to_median
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, one_hot, softplus

BATCH = 64


class Example(NamedTuple):
    """A program and how it is trained.

    Attributes:
        model: the model.
        guide: the guide.
        loss: the ELBO.
        arguments: of the steps, which take turns.
    """

    model: Callable
    guide: Callable
    loss: Any
    arguments: list[tuple[Any, ...]]


EXAMPLES: dict[str, Callable[[], Example]] = {}


def example(make: Callable[[], Example]) -> Callable[[], Example]:
    """Register an example under the name of its function."""
    EXAMPLES[make.__name__] = make
    return make


def net(*sizes: int, last: nn.Module | None = None) -> nn.Sequential:
    """A network of softplus layers."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Softplus()]
    return nn.Sequential(*layers[:-1], *([] if last is None else [last]))


def binary(n: int, *shape: int) -> Tensor:
    """Binary images of blobs."""
    return torch.bernoulli(torch.sigmoid(2 * torch.randn(n, *shape)))


def halves(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Location and scale of a normal from the output of a network."""
    loc, scale = raw.chunk(2, -1)
    return loc, softplus(scale) + 1e-3


@example
def vae() -> Example:
    """The VAE of Kingma and Welling (2014)."""
    decoder, encoder = net(20, 400, 784), net(784, 400, 40)

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 20), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(*halves(encoder(x))).to_event(1))

    return Example(model, guide, Trace_ELBO(), [(binary(BATCH, 784),) for _ in range(4)])


@example
def ss_vae_m2() -> Example:
    """Model M2 of Kingma et al. (2014): labelled and unlabelled batches, labels summed out."""
    decoder, encoder_y, encoder_z = net(60, 200, 784), net(784, 200, 10), net(794, 200, 100)

    def model(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 50), 1.0).to_event(1))
            label = pyro.sample("y", dist.OneHotCategorical(x.new_ones(len(x), 10) / 10), obs=y)
            z, label = _broadcast(z, label)
            logits = decoder(torch.cat([z, label], -1))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("encoder_y", encoder_y)
        pyro.module("encoder_z", encoder_z)
        with pyro.plate("data", len(x)):
            label = y
            if y is None:
                label = pyro.sample("y", dist.OneHotCategorical(logits=encoder_y(x)))
            seen = torch.cat(_broadcast(x, label), -1)
            pyro.sample("z", dist.Normal(*halves(encoder_z(seen))).to_event(1))

    labels = one_hot(torch.randint(10, (BATCH,)), 10).float()
    batches = [(binary(BATCH, 784), labels), (binary(BATCH, 784),)]
    loss = TraceEnum_ELBO(max_plate_nesting=1)
    return Example(model, config_enumerate(guide, expand=True), loss, batches)


def _broadcast(a: Tensor, b: Tensor | None) -> tuple[Tensor, Tensor]:
    assert b is not None
    shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    return a.expand(*shape, -1), b.expand(*shape, -1)


@example
def cvae() -> Example:
    """A conditional VAE that completes a quarter of an image (Sohn et al. 2015)."""
    baseline, prior = net(196, 200, 588), net(784, 200, 100)
    decoder, encoder = net(50, 200, 588), net(784, 200, 100)

    def model(seen: Tensor, hidden: Tensor) -> None:
        for name, module in (("baseline", baseline), ("prior", prior), ("decoder", decoder)):
            pyro.module(name, module)
        with pyro.plate("data", len(seen)):
            guess = baseline(seen)
            given = torch.cat([seen, guess.detach().sigmoid()], -1)
            z = pyro.sample("z", dist.Normal(*halves(prior(given))).to_event(1))
            logits = decoder(z) + guess
            pyro.sample("hidden", dist.Bernoulli(logits=logits).to_event(1), obs=hidden)

    def guide(seen: Tensor, hidden: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(seen)):
            both = torch.cat([seen, hidden], -1)
            pyro.sample("z", dist.Normal(*halves(encoder(both))).to_event(1))

    batches = [(binary(BATCH, 196), binary(BATCH, 588)) for _ in range(2)]
    return Example(model, guide, Trace_ELBO(), batches)


@example
def dmm() -> Example:
    """The deep Markov model of Krishnan et al. (2017), with masks for the lengths."""
    time, notes, latent, hidden = 12, 88, 20, 40
    transition, emitter = net(latent, hidden, 2 * latent), net(latent, hidden, notes)
    rnn = nn.GRU(notes, hidden, batch_first=True)
    combiner = nn.Linear(latent, hidden)
    head = nn.Linear(hidden, 2 * latent)

    def model(x: Tensor, mask: Tensor, annealing: float) -> None:
        pyro.module("transition", transition)
        pyro.module("emitter", emitter)
        with pyro.plate("data", len(x)):
            z = x.new_zeros(len(x), latent)
            for t in pyro.markov(range(time)):
                with poutine.mask(mask=mask[:, t]):
                    with poutine.scale(None, annealing):
                        z = pyro.sample(f"z{t}", dist.Normal(*halves(transition(z))).to_event(1))
                    emitted = dist.Bernoulli(logits=emitter(z)).to_event(1)
                    pyro.sample(f"x{t}", emitted, obs=x[:, t])

    def guide(x: Tensor, mask: Tensor, annealing: float) -> None:
        for name, module in (("rnn", rnn), ("combiner", combiner), ("head", head)):
            pyro.module(name, module)
        states, _ = rnn(x.flip(1))
        states = states.flip(1)
        with pyro.plate("data", len(x)):
            z = x.new_zeros(len(x), latent)
            for t in pyro.markov(range(time)):
                with poutine.mask(mask=mask[:, t]), poutine.scale(None, annealing):
                    combined = (combiner(z).tanh() + states[:, t]) / 2
                    z = pyro.sample(f"z{t}", dist.Normal(*halves(head(combined))).to_event(1))

    lengths = torch.randint(4, time + 1, (20,))
    mask = torch.arange(time) < lengths[:, None]
    batches = [(binary(20, time, notes), mask, step / 50) for step in range(1, 51)]
    return Example(model, guide, Trace_ELBO(), batches)


@example
def lda() -> Example:
    """Latent Dirichlet allocation, amortized, words summed out, documents subsampled."""
    topics, words, documents, length = 8, 200, 200, 32
    predictor = net(words, 50, topics, last=nn.Softmax(-1))

    @config_enumerate
    def model(data: Tensor) -> None:
        with pyro.plate("topics", topics):
            weights = pyro.sample("weights", dist.Gamma(1.0 / topics, 1.0))
            topic = pyro.sample("topic", dist.Dirichlet(torch.ones(words) / words))
        with pyro.plate("documents", documents, BATCH) as chosen:
            doc_topics = pyro.sample("doc_topics", dist.Dirichlet(weights))
            with pyro.plate("words", length):
                k = pyro.sample("k", dist.Categorical(doc_topics))
                pyro.sample("word", dist.Categorical(topic[k]), obs=data[:, chosen])

    def guide(data: Tensor) -> None:
        positive = constraints.positive
        a = pyro.param("a", lambda: torch.ones(topics), constraint=positive)
        b = pyro.param("b", lambda: torch.full((topics, words), 0.5), constraint=positive)
        with pyro.plate("topics", topics):
            pyro.sample("weights", dist.Gamma(a, 1.0))
            pyro.sample("topic", dist.Dirichlet(b))
        pyro.module("predictor", predictor)
        with pyro.plate("documents", documents, BATCH) as chosen:
            counts = one_hot(data[:, chosen], words).sum(0).float()
            pyro.sample("doc_topics", dist.Delta(predictor(counts), event_dim=1))

    data = torch.randint(words, (length, documents))
    return Example(model, guide, TraceEnum_ELBO(max_plate_nesting=2), [(data,)])


@example
def sparse_gamma_def() -> Example:
    """A deep exponential family of sparse gammas (Ranganath et al. 2015)."""
    top, middle, width = 20, 10, 64

    def gamma(*shape: int) -> dist.TorchDistribution:
        return dist.Gamma(0.1, 0.3).expand(shape).to_event(len(shape))

    def model(x: Tensor) -> None:
        upper = pyro.sample("upper", gamma(top, middle))
        lower = pyro.sample("lower", gamma(middle, width))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z_top", dist.Gamma(0.1, 0.1).expand([len(x), top]).to_event(1))
            rate = 0.1 / (z @ upper + 1e-2)
            z = pyro.sample("z_middle", dist.Gamma(0.1, rate).to_event(1))
            pyro.sample("x", dist.Poisson(z @ lower + 1e-2).to_event(1), obs=x)

    def learned(name: str, *shape: int) -> dist.TorchDistribution:
        shapes = pyro.param(f"{name}_shape", lambda: 0.5 + 0.1 * torch.randn(shape))
        means = pyro.param(f"{name}_mean", lambda: 0.1 * torch.randn(shape))
        concentration = softplus(shapes) + 1e-1
        return dist.Gamma(concentration, concentration / (softplus(means) + 1e-2))

    def guide(x: Tensor) -> None:
        pyro.sample("upper", learned("upper", top, middle).to_event(2))
        pyro.sample("lower", learned("lower", middle, width).to_event(2))
        with pyro.plate("data", len(x)):
            pyro.sample("z_top", learned("z_top", len(x), top).to_event(1))
            pyro.sample("z_middle", learned("z_middle", len(x), middle).to_event(1))

    return Example(model, guide, Trace_ELBO(), [(torch.poisson(2 * torch.rand(100, width)),)])


@example
def hmm() -> Example:
    """A hidden Markov model of music, its states summed out in time."""
    time, notes, states = 12, 20, 8

    def model(x: Tensor, mask: Tensor) -> None:
        sticky = 0.9 * torch.eye(states) + 0.1
        moves = pyro.sample("moves", dist.Dirichlet(sticky).to_event(1))
        sounds = pyro.sample("sounds", dist.Beta(0.1, 0.9).expand([states, notes]).to_event(2))
        tones = pyro.plate("tones", notes, dim=-1)
        with pyro.plate("data", len(x), dim=-2):
            state: Any = 0
            for t in pyro.markov(range(time)):
                with poutine.mask(mask=mask[:, t : t + 1]):
                    infer = {"enumerate": "parallel"}
                    state = pyro.sample(f"s{t}", dist.Categorical(moves[state]), infer=infer)
                    with tones:
                        probs = sounds[state.squeeze(-1)]
                        pyro.sample(f"x{t}", dist.Bernoulli(probs), obs=x[:, t])

    hidden = poutine.block(model, expose=["moves", "sounds"])
    guide = AutoDelta(hidden, init_loc_fn=init_to_median)
    mask = torch.arange(time) < torch.randint(4, time + 1, (30, 1))
    loss = TraceEnum_ELBO(max_plate_nesting=2)
    return Example(model, guide, loss, [(binary(30, time, notes), mask)])


@example
def gaussian_process() -> Example:
    """A sparse variational Gaussian process for regression."""
    x = torch.rand(200, 2)
    y = (6 * x).sin().sum(-1) + 0.1 * torch.randn(200)
    kernel = gp.kernels.RBF(2, lengthscale=torch.ones(2))
    likelihood = gp.likelihoods.Gaussian()
    process = gp.models.VariationalSparseGP(x, y, kernel, x[:30].clone(), likelihood, whiten=True)
    return Example(process.model, process.guide, TraceMeanField_ELBO(), [()])


@example
def causal_effect_vae() -> Example:
    """CEVAE (Louizos et al. 2017), as `pyro.contrib` has it."""
    config = {
        "feature_dim": 10,
        "latent_dim": 10,
        "hidden_dim": 50,
        "num_layers": 2,
        "num_samples": 1,
        "outcome_dist": "bernoulli",
    }
    model, guide = cevae.Model(config), cevae.Guide(config)
    batches = [(torch.randn(BATCH, 10), binary(BATCH), binary(BATCH), 10 * BATCH) for _ in range(2)]
    return Example(model, guide, cevae.TraceCausalEffect_ELBO(), batches)


@example
def scanvi() -> Example:
    """scANVI (Xu et al. 2021): counts of cells, some of known kind, other kinds summed out."""
    genes, kinds, top, latent = 200, 4, 10, 10
    decode_1, decode_2 = net(top + kinds, 64, 2 * latent), net(latent, 64, 2 * genes)
    encode_2, encode_1 = net(genes, 64, 2 * latent), net(latent + kinds, 64, 2 * top)
    classify = net(latent, 64, kinds)
    parts = (decode_1, decode_2)
    others = (encode_2, encode_1, classify)

    def model(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("decoders", nn.ModuleList(parts))
        theta = pyro.param("theta", lambda: x.new_ones(genes), constraint=constraints.positive)
        with pyro.plate("data", len(x)), poutine.scale(scale=1 / len(x)):
            z1 = pyro.sample("z1", dist.Normal(x.new_zeros(len(x), top), 1.0).to_event(1))
            kind = pyro.sample("y", dist.OneHotCategorical(x.new_ones(len(x), kinds)), obs=y)
            both = torch.cat(_broadcast(z1, kind), -1)
            z2 = pyro.sample("z2", dist.Normal(*halves(decode_1(both))).to_event(1))
            gate, mean = decode_2(z2).chunk(2, -1)
            logits = mean.log_softmax(-1) + x.sum(-1, keepdim=True).log() - theta.log()
            counts = dist.ZeroInflatedNegativeBinomial(theta, logits=logits, gate_logits=gate)
            pyro.sample("x", counts.to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("encoders", nn.ModuleList(others))
        with pyro.plate("data", len(x)), poutine.scale(scale=1 / len(x)):
            z2 = pyro.sample("z2", dist.Normal(*halves(encode_2(x.log1p()))).to_event(1))
            kind_given = dist.OneHotCategorical(logits=classify(z2))
            kind = pyro.sample("y", kind_given) if y is None else y
            both = torch.cat(_broadcast(z2, kind), -1)
            pyro.sample("z1", dist.Normal(*halves(encode_1(both))).to_event(1))

    labels = one_hot(torch.randint(kinds, (BATCH,)), kinds).float()
    x = torch.poisson(torch.rand(BATCH, genes) * 3) + 1
    loss = TraceEnum_ELBO(max_plate_nesting=1)
    return Example(model, config_enumerate(guide, expand=True), loss, [(x, labels), (x,)])


@example
def air() -> Example:
    """Attend, infer, repeat (Eslami et al. 2016), with baselines for its discrete variables."""
    size, window, steps, latent = 32, 12, 2, 20
    decoder, encoder = net(latent, 64, window * window, last=nn.Sigmoid()), net(144, 64, 2 * latent)
    rnn, head = nn.LSTMCell(size * size + 3 + latent + 1, 64), nn.Linear(64, 7)
    baseline = nn.LSTMCell(size * size + 3 + latent + 1, 64)
    baseline_head = nn.Linear(64, 1)

    def affine(where: Tensor) -> Tensor:
        zero = where.new_zeros(len(where))
        scale, x, y = where.unbind(-1)
        return torch.stack([scale, zero, x, zero, scale, y], -1).view(-1, 2, 3)

    def place(where: Tensor, patch: Tensor) -> Tensor:
        grid = affine_grid(affine(where), [len(where), 1, size, size], align_corners=False)
        return grid_sample(patch.view(-1, 1, window, window), grid, align_corners=False)[:, 0]

    def attend(where: Tensor, x: Tensor) -> Tensor:
        scale = where[:, :1]
        inverse = torch.cat([1 / scale, -where[:, 1:] / scale], -1)
        grid = affine_grid(affine(inverse), [len(x), 1, window, window], align_corners=False)
        return grid_sample(x[:, None], grid, align_corners=False).flatten(1)

    where_loc, where_scale = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.2, 1.0, 1.0])

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            canvas, present = torch.zeros_like(x), x.new_ones(len(x), 1)
            for t in range(steps):
                here = dist.Bernoulli(0.3 * present).to_event(1)
                present = pyro.sample(f"present{t}", here)
                on = present[:, 0].bool()
                prior = dist.Normal(where_loc, where_scale).expand([len(x), 3])
                where = pyro.sample(f"where{t}", prior.to_event(1).mask(on))
                what = dist.Normal(x.new_zeros(len(x), latent), 1.0).to_event(1).mask(on)
                patch = decoder(pyro.sample(f"what{t}", what))
                canvas = canvas + place(where, patch) * present[:, :, None]
            pyro.sample("x", dist.Normal(canvas, 0.3).to_event(2), obs=x)

    def guide(x: Tensor) -> None:
        modules = [rnn, head, encoder, baseline, baseline_head]
        pyro.module("guide", nn.ModuleList(modules))
        flat = x.flatten(1)
        with pyro.plate("data", len(x)):
            state = guess = (x.new_zeros(len(x), 64),) * 2
            where, what = x.new_zeros(len(x), 3), x.new_zeros(len(x), latent)
            present = x.new_ones(len(x), 1)
            for t in range(steps):
                seen = torch.cat([flat, where, what, present], -1)
                state = rnn(seen, state)
                raw = head(state[0])
                guess = baseline(seen.detach(), guess)
                value = baseline_head(guess[0])[:, 0] * present[:, 0]
                here = dist.Bernoulli(raw[:, :1].sigmoid() * present).to_event(1)
                infer = {"baseline": {"baseline_value": value}}
                present = pyro.sample(f"present{t}", here, infer=infer)
                on = present[:, 0].bool()
                loc, scale = raw[:, 1:4] + where_loc, softplus(raw[:, 4:]) + 1e-2
                where = pyro.sample(f"where{t}", dist.Normal(loc, scale).to_event(1).mask(on))
                code = dist.Normal(*halves(encoder(attend(where, x)))).to_event(1)
                what = pyro.sample(f"what{t}", code.mask(on))

    return Example(model, guide, TraceGraph_ELBO(), [(torch.rand(BATCH, size, size),)])


@example
def partial_pooling() -> Example:
    """Batting averages with partial pooling, under an automatic guide."""
    at_bats, hits = torch.full((18,), 45.0), torch.randint(8, 19, (18,)).float()

    def model(at_bats: Tensor, hits: Tensor) -> None:
        m = pyro.sample("m", dist.Uniform(0.0, 1.0))
        kappa = pyro.sample("kappa", dist.Pareto(1.0, 1.5))
        with pyro.plate("players", len(at_bats)):
            phi = pyro.sample("phi", dist.Beta(m * kappa, (1 - m) * kappa))
            pyro.sample("hits", dist.Binomial(at_bats, probs=phi), obs=hits)

    return Example(model, AutoNormal(model), Trace_ELBO(), [(at_bats, hits)])


@example
def regression_in_minibatches() -> Example:
    """Logistic regression with a low-rank guide, by subsampling, under an annealed KL."""
    x = torch.randn(2000, 10)
    y = torch.bernoulli((x.sum(-1)).sigmoid())

    def model(annealing: float) -> None:
        with poutine.scale(scale=annealing):
            w = pyro.sample("w", dist.Normal(0.0, 1.0).expand([10]).to_event(1))
            b = pyro.sample("b", dist.Normal(0.0, 3.0))
        with pyro.plate("data", len(x), BATCH) as chosen:
            pyro.sample("y", dist.Bernoulli(logits=x[chosen] @ w + b), obs=y[chosen])

    guide = AutoLowRankMultivariateNormal(model)
    return Example(model, guide, Trace_ELBO(), [(step / 100,) for step in range(1, 101)])


@example
def dirichlet_process_mixture() -> Example:
    """A truncated Dirichlet process mixture of Poissons, its assignments summed out."""
    components = 10
    x = torch.cat([dist.Poisson(float(rate)).sample((60,)) for rate in (3, 12, 40)])

    @config_enumerate
    def model(x: Tensor) -> None:
        with pyro.plate("sticks", components - 1):
            beta = pyro.sample("beta", dist.Beta(1.0, 1.1))
        with pyro.plate("components", components):
            rate = pyro.sample("rate", dist.Gamma(3.0, 0.2))
        left = (1 - beta).cumprod(-1)
        one = x.new_ones(1)
        shares = torch.cat([beta, one]) * torch.cat([one, left])
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Categorical(shares))
            pyro.sample("x", dist.Poisson(rate[z]), obs=x)

    def guide(x: Tensor) -> None:
        positive = constraints.positive
        kappa = pyro.param("kappa", lambda: torch.ones(components - 1), constraint=positive)
        shape = pyro.param("shape", lambda: 3 + torch.rand(components), constraint=positive)
        rate = pyro.param("speed", lambda: 0.2 + torch.rand(components) / 5, constraint=positive)
        with pyro.plate("sticks", components - 1):
            pyro.sample("beta", dist.Beta(1.0, kappa))
        with pyro.plate("components", components):
            pyro.sample("rate", dist.Gamma(shape, rate))

    return Example(model, guide, TraceEnum_ELBO(max_plate_nesting=1), [(x,)])


@example
def discrete_by_score_function() -> Example:
    """A sigmoid belief network under Rao-Blackwellized score functions (no reparameterization)."""
    decoder, encoder = net(30, 100, 196), net(196, 100, 30)

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(x.new_ones(len(x), 30) / 2).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            infer = {"baseline": {"nn_baseline": baseline, "nn_baseline_input": x}}
            pyro.sample("z", dist.Bernoulli(logits=encoder(x)).to_event(1), infer=infer)

    baseline = nn.Sequential(nn.Linear(196, 30), nn.Tanh(), nn.Linear(30, 1), nn.Flatten(0))
    batches = [(binary(BATCH, 196),) for _ in range(2)]
    return Example(model, guide, TraceGraph_ELBO(), batches)
