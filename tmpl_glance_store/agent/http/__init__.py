# SPDX-License-Identifier: Apache-2.0
"""The agent's HTTP API: its listener, and what it answers."""
