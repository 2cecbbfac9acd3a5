"""Training: `fit`, the run folder it writes, and the history it returns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# Once imported, a module hides the function that bears its name: the functions are placed first.
fit, refit_prior = __getattr__("fit"), __getattr__("refit_prior")
