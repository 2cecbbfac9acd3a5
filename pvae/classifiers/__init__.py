"""Classifiers q(y|x): modules whose forward(x) returns a distribution over classes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
