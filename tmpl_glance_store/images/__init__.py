# SPDX-License-Identifier: Apache-2.0
"""What Glance asks for: images added, read and removed."""
