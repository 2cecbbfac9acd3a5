"""Evaluation of trained VAEs: evidence, diagnostics, metrics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# An imported module hides the function of the same name, so the functions are set first.
ais, elbo, inference_gap, log_likelihood, predictive, sample_quality = (
    __getattr__(name)
    for name in (
        "ais",
        "elbo",
        "inference_gap",
        "log_likelihood",
        "predictive",
        "sample_quality",
    )
)
