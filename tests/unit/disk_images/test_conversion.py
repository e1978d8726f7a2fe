# SPDX-License-Identifier: Apache-2.0
"""The raw form of a template."""

import os

import pytest

from harness.host import content
from harness.host import digest_of
from tests.unit.disk_images.images import MIB
from tests.unit.disk_images.images import image
from tmpl_glance_store import exceptions
from tmpl_glance_store import fsutil
from tmpl_glance_store import layout
from tmpl_glance_store.disk_images import conversion
from tmpl_glance_store.disk_images import derived
from tmpl_glance_store.disk_images import inspection

QCOW2 = inspection.Inspected('qcow2', 8 * MIB)


def test_a_conversion_is_whole_or_not_there(tmp_path):
    path = image(tmp_path, 'qcow2')
    path.rename(tmp_path / layout.IMAGE)
    workshop = tmp_path / 'workshop'

    class Enough(Exception):
        pass

    def stop():
        raise Enough

    def convert(check):
        return conversion.convert(
            layout.CopyPaths(str(tmp_path)),
            str(workshop),
            'd' * 64,
            QCOW2,
            progress=lambda percentage: None,
            check=check,
        )

    with pytest.raises(Enough):
        convert(stop)
    assert derived.find(layout.CopyPaths(str(tmp_path))) is None
    assert not workshop.exists()
    made = convert(lambda: None)
    assert derived.find(layout.CopyPaths(str(tmp_path))) == made
    raw = (tmp_path / layout.BASE).read_bytes()
    assert raw == content(MIB).ljust(8 * MIB, b'\0')
    assert made.digest == digest_of(raw)
    derived.discard(layout.CopyPaths(str(tmp_path)))
    assert derived.find(layout.CopyPaths(str(tmp_path))) is None


def test_the_end_of_a_conversion_is_not_believed_without_its_record(tmp_path):
    (tmp_path / layout.BASE).write_bytes(b'x')
    assert derived.find(layout.CopyPaths(str(tmp_path))) is None


def test_an_unfinished_conversion_is_begun_anew(tmp_path):
    path = image(tmp_path, 'qcow2')
    path.rename(tmp_path / layout.IMAGE)
    workshop = tmp_path / 'workshop'
    workshop.mkdir()
    (workshop / layout.BASE).write_bytes(b'half of it')
    made = conversion.convert(
        layout.CopyPaths(str(tmp_path)),
        str(workshop),
        'd' * 64,
        QCOW2,
        progress=lambda percentage: None,
        check=lambda: None,
    )
    assert derived.find(layout.CopyPaths(str(tmp_path))) == made


def test_two_processes_do_not_convert_one_template(tmp_path):
    workshop = tmp_path / 'workshop'
    workshop.mkdir()
    with (
        fsutil.lock_directory(str(workshop)),
        pytest.raises(exceptions.Unavailable, match='locked'),
    ):
        conversion.convert(
            layout.CopyPaths(str(tmp_path)),
            str(workshop),
            'd' * 64,
            QCOW2,
            progress=lambda percentage: None,
            check=lambda: None,
        )
    assert workshop.exists()


def test_a_disk_that_takes_too_much_is_refused(tmp_path, monkeypatch):
    image(tmp_path, 'qcow2').rename(tmp_path / layout.IMAGE)
    monkeypatch.setattr(inspection, 'allowance', lambda length: MIB // 2)
    with pytest.raises(inspection.Refused, match='takes more'):
        conversion.convert(
            layout.CopyPaths(str(tmp_path)),
            str(tmp_path / 'workshop'),
            'd' * 64,
            QCOW2,
            progress=lambda percentage: None,
            check=lambda: None,
        )
    assert not os.path.exists(tmp_path / 'workshop')
    assert derived.find(layout.CopyPaths(str(tmp_path))) is None
