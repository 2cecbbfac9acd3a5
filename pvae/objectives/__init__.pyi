from .beta import BetaELBO as BetaELBO
from .elbo import Trace_ELBO as Trace_ELBO
from .elbo import TraceMeanField_ELBO as TraceMeanField_ELBO
