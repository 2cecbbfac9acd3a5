from . import domains as domains
from .batches import Batches as Batches
from .dataset import Dataset as Dataset
from .dataset import Part as Part
from .folder import ImageFiles as ImageFiles
from .loading import load as load
from .named import NAMES as NAMES
