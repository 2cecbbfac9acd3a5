import pytest

from pvae.storage import trust


@pytest.mark.parametrize(
    "path", ["pvae.networks.MLP", "torch.nn.Linear", "pyro.infer.Trace_ELBO", "torch.optim"]
)
def test_what_is_always_allowed(path):
    assert trust.allows(path)


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "runs.got.evil.X",
        "pvaes.X",
        "torch_evil.X",
        "torch._C.X",
        "pvae.__main__.main",
        "pvae..networks",
        "pvae.networks.MLP()",
        "/tmp/x",
        "",
        ".pvae",
        "numpy.ndarray",
    ],
)
def test_what_is_not_allowed(path):
    assert not trust.allows(path)
    with pytest.raises(ValueError, match="--trust"):
        trust.check("network", path)


def test_trust_covers_a_module_and_what_is_in_it_and_ends():
    with trust.trusting(["my.module"]):
        assert trust.allows("my.module.Net")
        assert trust.allows("my.module.inner._Net")
        assert not trust.allows("my.modules.Net")
        assert not trust.allows("my.Net")
        with trust.trusting("other.Net"):
            assert trust.allows("other.Net")
            assert trust.allows("my.module.Net")
        assert not trust.allows("other.Net")
    assert not trust.allows("my.module.Net")


@pytest.mark.parametrize(("names", "error"), [([3], TypeError), ("a b", ValueError)])
def test_what_cannot_be_trusted(names, error):
    with pytest.raises(error, match="trust holds"), trust.trusting(names):
        pass


@pytest.mark.parametrize(
    "config",
    [
        {"network": "evil.Net"},
        {"network": {"class_path": "evil.Net"}},
        {"prior.network": "evil.Net"},
        {"prior": {"class_path": "Normal", "init_args": {"network": {"class_path": "evil.Net"}}}},
        {"prior": {"class_path": "Normal", "init_args": {"networks": ["evil.Net"]}}},
        {"prior": {"class_path": "Normal", "dict_kwargs": {"network": "evil.Net"}}},
        {"trust": "evil"},
        {"config": "other.yaml"},
        {"network": __file__},
        {"vary": {"network": ["MLP", "evil.Net"]}},
        {"vary": {"network": {"a": "MLP", "b": "evil.Net"}}},
        {"vary": {"network": {"class_path": "evil.Net"}}},
        {"vary": {"data, network": [["a.npz", "evil.Net"]]}},
        {"vary": {"data, network": {"a": ["a.npz", "MLP"], "b": ["evil.Net"]}}},
        {"vary": {"variants": {"a": {"data": "a.npz", "network": {"class_path": "evil.Net"}}}}},
        {"vary": "evil.Net"},
    ],
)
def test_configurations_that_name_code_are_refused(config):
    with pytest.raises(ValueError, match=r"evil\.Net|cannot set|is a file"):
        trust.check_configuration(config)


def test_configurations_of_our_parts_and_of_trusted_ones():
    config = {
        "data": "my.data.npy",
        "prior": {"class_path": "StandardNormal"},
        "network": {"class_path": "mine.Net", "init_args": {"activation": "relu"}},
    }
    assert trust.outside(config | {"objective": {"class_path": "pyro.infer.ELBO"}}) == ["mine"]
    with trust.trusting("mine"):
        trust.check_configuration(config)


def test_data_of_a_study_are_no_code():
    vary = {
        "data": ["a.npz", "b.npz"],
        "labels": {"a": "a.npy", "b": "b.npy"},
        "data, latent_dim": [["a.npz", 3]],
        "variants": {"a": {"data": "a.npz"}, "b": {}},
    }
    trust.check_configuration({"study": "of.priors", "vary": vary})
