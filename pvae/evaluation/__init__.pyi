from .bound import ELBO as ELBO
from .bound import elbo as elbo
from .summary import evaluate as evaluate
from .summary import summarize as summarize
