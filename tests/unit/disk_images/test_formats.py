# SPDX-License-Identifier: Apache-2.0
"""What an image is by its bytes."""

import os
import subprocess

import pytest

from harness.host import content
from tests.unit.disk_images.images import MIB
from tmpl_glance_store.disk_images import formats
from tmpl_glance_store.disk_images import inspection


def test_a_disk_image_with_a_table_is_raw_and_an_iso_with_one_an_iso(tmp_path):
    path = tmp_path / 'disk'
    path.touch()
    os.truncate(path, 8 * MIB)
    subprocess.run(
        ['sfdisk', '--quiet', path], input=b'label: gpt\n,,\n', check=True
    )
    assert formats.inspect(str(path)) == 'gpt'
    with path.open('r+b') as file:
        file.seek(32768)
        file.write(b'\x01CD001\x01'.ljust(2048, b'\0'))
    assert formats.inspect(str(path)) == 'iso'
    assert inspection.inspect(str(path), None, 1 << 40).format == 'raw'


def test_bytes_that_break_the_inspectors_are_unsafe_and_of_no_format(tmp_path):
    data = (
        b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\n'
        b'parentCID=ffffffff\ncreateType="monolithicFlat"\n'
        b'RW 8 FLAT "/etc/passwd" 0\n'
    ).ljust(4096, b'\n') + content(MIB)
    (tmp_path / 'image').write_bytes(data)
    assert formats.detect(data) is None
    with pytest.raises(formats.Unsafe):
        formats.inspect(str(tmp_path / 'image'))


def test_who_reads_too_slowly_does_not_keep_others_waiting(
    tmp_path, monkeypatch
):
    (tmp_path / 'image').write_bytes(content(MIB))
    monkeypatch.setattr(formats, '_PATIENCE', -1)
    with pytest.raises(formats.Unsafe, match='not clear'):
        formats.inspect(str(tmp_path / 'image'))


def test_what_is_several_formats_at_once_is_unsafe():
    with pytest.raises(formats.Unsafe, match='gpt, qcow2'):
        formats._one_of(['qcow2', 'gpt'])
