"""The commands of the command line, in the order of its help."""

from pvae.cli.compare import compare
from pvae.cli.evaluate import compress, evaluate, score
from pvae.cli.explore import explore
from pvae.cli.query import encode, interpolate, plot, reconstruct, sample
from pvae.cli.reproduce import reproduce
from pvae.cli.train import train

COMMANDS = (
    train,
    evaluate,
    compare,
    reproduce,
    score,
    compress,
    sample,
    reconstruct,
    interpolate,
    encode,
    plot,
    explore,
)
