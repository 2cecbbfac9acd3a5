"""What starting costs: importing the package, compared with Pyro, and the command line's help.

    python -m results.benchmarks.startup

Each is the median of repeated runs of a fresh interpreter, in turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pvae.cli.commands import COMMANDS
from results.machine import machine

ROUNDS = 5
OUT = Path(__file__).with_suffix(".json")
USED = "import pvae; pvae.VAE, pvae.build, pvae.fit, pvae.load, pvae.data.load"
PROGRAMS = {
    "import pyro": ["-c", "import pyro, pyro.infer, pyro.optim"],
    "import pvae": ["-c", "import pvae"],
    "import pvae and use its names": ["-c", USED],
    "pvae --help": ["-m", "pvae", "--help"],
    **{f"pvae {c.__name__} --help": ["-m", "pvae", c.__name__, "--help"] for c in COMMANDS},
}


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, arguments in PROGRAMS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    result = {
        "seconds": {name: round(statistics.median(s), 3) for name, s in seconds.items()},
        "machine": machine(),
    }
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
