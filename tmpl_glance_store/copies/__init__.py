# SPDX-License-Identifier: Apache-2.0
"""The life of a copy: on a disk of this host, and in the catalog."""
