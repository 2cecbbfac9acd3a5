"""Benchmarks: speed as a ratio, all rows in one run."""
