# SPDX-License-Identifier: Apache-2.0
"""Real servers, nodes and networks: for tests, demo and benchmarks."""
