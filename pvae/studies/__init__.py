"""Studies: many runs compared, with what varies, seeds, and how sure each difference is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
