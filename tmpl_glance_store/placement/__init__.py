# SPDX-License-Identifier: Apache-2.0
"""Placement: from a template's position to the locations that should hold it.

Pure: what is alive or has room is the caller's to say.
"""
