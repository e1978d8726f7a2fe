# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: ratios from one run, since machines are noisy."""
