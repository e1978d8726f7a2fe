# SPDX-License-Identifier: Apache-2.0
"""Crash-safe copies of templates in this host's locations."""
