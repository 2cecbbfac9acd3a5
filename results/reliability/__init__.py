"""Attacks on what pvae promises: kills, damaged run folders, malformed data, wrong calls.

    python -m results.reliability [NAME ...] [--count N]

Every attack has a number, which is its seed, and runs in a separate process under limits of time
and memory. It counts as held if the result is that of the undamaged input, or if an error of a
documented type says in one sentence what is wrong; a hang, a traceback, executed foreign code or a
silently different result is a failure. The tests run a few of each.
"""

import os

# Attacks are forked from a process that has trained before, which neither CUDA nor OpenMP survives.
os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"] = "", "1"
