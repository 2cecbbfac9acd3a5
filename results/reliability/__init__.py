"""Attacks on what pvae promises: kills, damaged run folders, malformed data, wrong calls.

    python -m results.reliability [NAME ...] [--count N]

Every attack has a number, which is its seed, and runs in a process of its own under limits of time
and memory. It holds if the result is that of the undamaged, or the refusal is one sentence of a
documented type; a hang, a traceback, foreign code that ran or a silently different result is a
failure. The tests run a few of each.
"""

import os

# Attacks are forked from a process that has trained before, which neither CUDA nor OpenMP survives.
os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"] = "", "1"
