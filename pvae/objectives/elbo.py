"""The ELBOs of Pyro, re-exported."""

from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO

__all__ = ["RenyiELBO", "TraceMeanField_ELBO", "Trace_ELBO"]
