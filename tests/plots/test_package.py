from pvae import plots


def test_public_names():
    assert sorted(plots.__all__) == [
        "animate",
        "differences",
        "forest",
        "frames",
        "imputations",
        "interpolations",
        "latent_plane",
        "latent_scatter",
        "learning_curves",
        "level_kl",
        "loss_curves",
        "manifold",
        "over_training",
        "pca_maps",
        "percentiles",
        "posterior_draws",
        "rank_histograms",
        "reconstructions",
        "redraws",
        "reliability",
        "roc",
        "samples",
        "samples_by_weights",
        "save",
        "side_by_side",
        "tsne",
        "tsne_maps",
        "uncertainty_maps",
    ]
