"""What the processes of a Dask cluster are forked from imports: all that runs of studies need.

They fork the workers of studies, too.
"""

import importlib

from pvae.studies import worker
from tests.processes import FORKING

for name in worker.PRELOADED:
    importlib.import_module(name)
worker.subprocess = FORKING
