# SPDX-License-Identifier: Apache-2.0
"""The agent of a node: it keeps, serves, fetches and proves templates."""
