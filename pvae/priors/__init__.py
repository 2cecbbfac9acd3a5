"""Priors p(z): modules whose forward() returns a distribution over z, one family per file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
