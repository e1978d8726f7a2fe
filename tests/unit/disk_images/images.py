# SPDX-License-Identifier: Apache-2.0
"""Disk images, made by the real qemu-img."""

import os
import subprocess

from harness.host import content

MIB = 1 << 20


def image(tmp_path, image_format, *options):
    raw = tmp_path / 'disk.raw'
    raw.write_bytes(content(MIB))
    os.truncate(raw, 8 * MIB)
    path = tmp_path / f'disk.{image_format}'
    subprocess.run(
        [
            'qemu-img',
            'convert',
            '-f',
            'raw',
            '-O',
            image_format,
            *options,
            raw,
            path,
        ],
        check=True,
    )
    return path
