# SPDX-License-Identifier: Apache-2.0
"""Options: what an operator sets, read once into frozen values."""
