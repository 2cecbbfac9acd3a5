"""An explorer of a trained VAE in the browser: its latent space, its data, and what they are worth.

`Explorer` computes what the page shows, `serve` serves it on this machine, and `write_page` writes
it into one file that needs no server.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
