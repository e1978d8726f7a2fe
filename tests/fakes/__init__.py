# SPDX-License-Identifier: Apache-2.0
"""Fakes that pass the suites of what they stand for."""
