from .compiled import CompiledSVI as CompiledSVI
from .history import History as History
from .optimizer import Optimizer as Optimizer
from .runs import Run as Run
from .runs import load as load
from .training import fit as fit
