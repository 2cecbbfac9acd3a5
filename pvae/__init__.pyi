from . import classifiers as classifiers
from . import data as data
from . import distributions as distributions
from . import evaluation as evaluation
from . import explore as explore
from . import inference as inference
from . import likelihoods as likelihoods
from . import networks as networks
from . import objectives as objectives
from . import plots as plots
from . import posteriors as posteriors
from . import priors as priors
from . import studies as studies
from . import training as training
from . import weights as weights
from .builder import build as build
from .labels import Labels as Labels
from .marginal import Marginal as Marginal
from .training.fit import fit as fit
from .training.refit_prior import refit_prior as refit_prior
from .training.runs import load as load
from .vae import VAE as VAE

__version__: str
