from .compiled import CompiledSVI as CompiledSVI
from .optimizer import Optimizer as Optimizer
