"""Pyro's own estimators of the evidence lower bound, as they are."""

from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

__all__ = ["TraceMeanField_ELBO", "Trace_ELBO"]
