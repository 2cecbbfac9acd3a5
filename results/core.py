"""Trains the models of results/README.md and writes their figures to results/core.json.

    PVAE_DATA=DIR python -m results.core [--frey freyfaces.npz] [--runs DIR]

Each row is one `pvae train` command, run as a user would. DIR holds MNIST, or it is downloaded
there; the Frey faces (1,965 images of 28 × 20, one array of bytes) are left out without their file.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from results.frame import save
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
AS_MEASURED = "--warmup 0 --patience null --monitor neg_elbo"  # before these had defaults
MNIST = "--data mnist --latent_dim 20 --network.hidden [400] --batch_size 128 --epochs 10 "
MNIST += AS_MEASURED
FREY = "--latent_dim 20 --network.hidden [400] --likelihood Gaussian --likelihood.scale learned"
FREY += " --epochs 200 " + AS_MEASURED
ROWS = [
    ("digits", ["train"]),
    *((f"mnist, seed {s}", ["train", *MNIST.split(), "--seed", str(s)]) for s in (0, 1)),
    *(
        (
            f"mnist, grey values, seed {s}",
            ["train", *MNIST.split(), "--likelihood.relaxed", "true", "--seed", str(s)],
        )
        for s in (0, 1)
    ),
]


def main() -> None:
    """Train, collect and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frey", type=Path, help="the Frey faces, an .npz file")
    parser.add_argument("--runs", type=Path, default=Path("runs/core"), help="where runs are kept")
    options = parser.parse_args()
    rows = list(ROWS)
    if options.frey:
        rows.append(("frey faces", ["train", "--data", str(options.frey), *FREY.split()]))
    results = {"machine": machine(), "rows": []}
    for name, arguments in rows:
        run = options.runs / name.replace(", ", "-").replace(" ", "-")
        began = time.monotonic()
        command = [sys.executable, "-m", "pvae", *arguments, "--run", str(run)]
        subprocess.run(command, check=True)
        seconds = time.monotonic() - began
        evaluation = json.loads((run / "evaluation.json").read_text())
        shown = [Path(a).name if a.endswith(".npz") else a for a in arguments]
        results["rows"].append(
            {
                "name": name,
                "command": " ".join(["pvae", *shown]),
                "seconds": round(seconds, 1),
                **evaluation,
            }
        )
        save(OUT, results)
    for row in results["rows"]:
        test = row["parts"]["test"]
        print(f"{row['name']:<28}{test['neg_elbo']:>10.2f} nats  {row['seconds']:>6.0f} s")


if __name__ == "__main__":
    main()
