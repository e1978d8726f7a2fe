# SPDX-License-Identifier: Apache-2.0
"""Disk images: what they are, whether they are safe, and their raw form.

Only ``qemu_img`` runs qemu-img, only ``formats`` uses format_inspector.
"""
