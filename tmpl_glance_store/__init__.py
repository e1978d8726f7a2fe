# SPDX-License-Identifier: Apache-2.0
"""Template images on the disks next to the VMs: a glance_store plugin."""
