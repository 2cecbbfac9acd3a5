"""The variational autoencoder as a probabilistic program.

A `VAE` is a prior p(z), a likelihood p(x|z) and a posterior q(z|x): two Pyro programs,
`vae.model` and `vae.guide`. `build` sizes and connects the parts, `fit` trains them with SVI,
`load` loads a trained one from its run folder, and `data.load` reads training data.

    >>> import pvae
    >>> data = pvae.data.load("digits")
    >>> vae = pvae.build(data.event_shape, latent_dim=2)
    >>> history = pvae.fit(vae, data, epochs=2, progress=False)
    >>> vae.sample(5, seed=0).shape
    torch.Size([5, 1, 8, 8])

Names are imported when first used (`__init__.pyi` lists them), so that `import pvae` is fast and
the command line can print its help without waiting for torch.
"""

import sys as _sys

# `python -m pvae` looks in the current folder first, whose modules are not trusted.
if _sys.argv[:1] == ["-m"] and {"pvae", "-mpvae"} & {*_sys.orig_argv[1:]}:
    _sys.path[:1] = [] if not getattr(_sys.flags, "safe_path", False) else _sys.path[:1]

import lazy_loader

__version__: str = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
