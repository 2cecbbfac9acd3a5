"""Compiled SVI for any Pyro program, and an optimizer for all its parameters."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
