# SPDX-License-Identifier: Apache-2.0
"""Disk images: what they are, whether they are safe, and their raw form.

How to use the room, for whoever is to give an image to a hypervisor:

1. ``inspection.inspect`` says what an image file is, if it is harmless; its
   ``Refused`` is final, any other error may pass.
2. ``derived.find`` returns the raw form that lies beside it already, which
   ``conversion.convert`` makes: minutes of work, on a thread of the caller's.
3. ``derived.discard`` removes a raw form that has failed its proof.

``formats.detect`` is the quick look at an upload. Only ``formats`` uses
format_inspector, only ``qemu_img`` runs qemu-img, within the limits that
``sandbox`` sets. Nothing here knows who the image is for.
"""
