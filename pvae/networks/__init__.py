"""Networks for the encoder and the decoder. Any torch module can take their place."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
