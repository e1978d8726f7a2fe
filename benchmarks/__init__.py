"""Benchmarks: ratios from one run, since machines are noisy."""
