from pvae import plots


def test_public_names():
    assert sorted(plots.__all__) == [
        "animate",
        "interpolations",
        "latent_plane",
        "latent_scatter",
        "loss_curves",
        "manifold",
        "percentiles",
        "reconstructions",
        "samples",
        "save",
        "side_by_side",
        "tsne",
    ]
