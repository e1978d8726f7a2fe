# SPDX-License-Identifier: Apache-2.0
"""Templates of other nodes, read over their API and proved."""
