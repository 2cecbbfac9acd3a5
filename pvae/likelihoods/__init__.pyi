from .bernoulli import Bernoulli as Bernoulli
from .gaussian import Gaussian as Gaussian
