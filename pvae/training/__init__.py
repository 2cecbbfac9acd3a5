"""Training: `fit`, the run folder it writes, and the history it returns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# An imported module hides the function of the same name, so the functions are set first.
fit, refit_prior = __getattr__("fit"), __getattr__("refit_prior")
