# SPDX-License-Identifier: Apache-2.0
"""What the cluster knows: a small key-value contract and the domain on it."""
