from .draws import over_weights as over_weights
from .ensemble import ensemble as ensemble
from .objective import WithWeights as WithWeights
from .priors import Horseshoe as Horseshoe
from .priors import Laplace as Laplace
from .priors import Normal as Normal
from .sghmc import SGHMC as SGHMC
from .weights import Weights as Weights
