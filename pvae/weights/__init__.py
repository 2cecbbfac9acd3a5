"""Uncertain weights: priors over them, posteriors, samplers, ensembles."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# An imported module hides the function of the same name, so the function is set first.
ensemble = __getattr__("ensemble")
