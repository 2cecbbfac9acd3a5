"""Objectives: ELBOs of Pyro and others from the literature, all used like Trace_ELBO."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
