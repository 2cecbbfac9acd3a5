from .fit import fit as fit
from .history import History as History
from .refit_prior import refit_prior as refit_prior
from .runs import Run as Run
from .runs import load as load
