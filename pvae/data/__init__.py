"""Data: loads data sets, splits them in parts, and yields minibatches for a likelihood."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
