"""What the models of results/README.md were trained with, where a default has changed since."""

AS_MEASURED = {"warmup": 0, "patience": None, "monitor": "neg_elbo"}  # arguments of pvae.fit
