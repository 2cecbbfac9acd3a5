"""Objectives: Pyro ELBOs, and what the field made of them; each stands where Trace_ELBO stands."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
