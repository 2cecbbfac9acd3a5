"""Plots of variational autoencoders: functions from arrays to matplotlib figures.

Every picture takes NumPy arrays or torch tensors and returns a figure. A figure shows
itself as the last expression of a notebook cell, and :func:`save` writes it to a file::

    from pvae import plots

    plots.save(plots.samples(vae.sample(64)), "samples.png")

Every picture also takes ``figure=``, a figure or subfigure to plot into, so that any of them can be
put beside another (:func:`side_by_side`) or follow another (:func:`animate`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
