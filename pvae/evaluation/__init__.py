"""Evaluation: what can be said of a trained VAE, in nats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# Once imported, a module hides the function that bears its name: the functions are placed first.
ais, elbo, inference_gap, log_likelihood, sample_quality = (
    __getattr__(name)
    for name in ("ais", "elbo", "inference_gap", "log_likelihood", "sample_quality")
)
