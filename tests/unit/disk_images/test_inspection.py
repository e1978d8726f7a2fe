# SPDX-License-Identifier: Apache-2.0
"""Whether an image may be given to a hypervisor."""

import pytest

from harness.host import content
from tests.unit.disk_images.images import MIB
from tests.unit.disk_images.images import image
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.disk_images import qemu_img


@pytest.mark.parametrize(
    ('image_format', 'options'),
    [
        ('qcow2', ()),
        ('qcow2', ('-c',)),
        ('vmdk', ()),
        ('vdi', ()),
        ('vhdx', ()),
        ('vmdk', ('-o', 'subformat=streamOptimized')),
    ],
)
def test_good_images_pass(tmp_path, image_format, options):
    path = image(tmp_path, image_format, *options)
    found = inspection.inspect(str(path), image_format, 1 << 40)
    assert (found.format, found.virtual_size) == (image_format, 8 * MIB)


def test_raw_is_whatever_is_nothing_else(tmp_path):
    path = tmp_path / 'raw'
    path.write_bytes(content(100))
    assert inspection.inspect(str(path), 'raw', 1 << 40).format == 'raw'


def test_an_image_is_what_it_was_when_uploaded(tmp_path):
    path = image(tmp_path, 'qcow2')
    with pytest.raises(inspection.Refused, match='was raw when uploaded'):
        inspection.inspect(str(path), 'raw', 1 << 40)
    assert inspection.inspect(str(path), None, 1 << 40).format == 'qcow2'


def test_a_disk_may_be_too_large(tmp_path):
    path = image(tmp_path, 'qcow2')
    with pytest.raises(
        inspection.TooLarge, match=f'more than the {8 * MIB - 1}'
    ):
        inspection.inspect(str(path), 'qcow2', 8 * MIB - 1)


# What qemu-img says of an image, and why that refuses it.


@pytest.fixture
def said(monkeypatch):
    """Let qemu-img say something else of every image."""

    def say(counted=None, **description):
        monkeypatch.setattr(
            qemu_img,
            'info',
            lambda fd: {
                'format': 'qcow2',
                'virtual-size': MIB,
                'cluster-size': 65536,
                **description,
            },
        )
        monkeypatch.setattr(
            qemu_img, 'check', lambda fd, image_format: counted or {}
        )

    return say


def details(**data):
    return {'format-specific': {'data': data}}


@pytest.mark.parametrize(
    ('image_format', 'description', 'reason'),
    [
        ('qcow2', {'format': 'vmdk'}, 'and vmdk to qemu-img'),
        ('qcow2', {'backing-filename': '/etc/passwd'}, 'a backing file'),
        ('qcow2', {'full-backing-filename': 'nbd:x'}, 'a backing file'),
        ('qcow2', details(**{'data-file': '/etc'}), 'external data file'),
        (
            'vmdk',
            {'format': 'vmdk', **details(**{'create-type': 'vmfs'})},
            "VMDK of type 'vmfs'",
        ),
        ('qcow2', {'counted': {'corruptions': 2}}, 'damaged in 2 places'),
        ('qcow2', {'counted': {'check-errors': 1}}, 'damaged in 1 places'),
        ('qcow2', {'counted': {'image-end-offset': 1 << 40}}, 'cut short'),
        (
            'qcow2',
            {'counted': {'compressed-clusters': 1 << 30}},
            'would grow to',
        ),
    ],
)
def test_what_qemu_img_finds_refuses_an_image(
    tmp_path, monkeypatch, said, image_format, description, reason
):
    path = tmp_path / 'image'
    path.write_bytes(content(MIB))
    monkeypatch.setattr(
        inspection.formats, 'inspect', lambda path: image_format
    )
    said(**description)
    with pytest.raises(inspection.Refused, match=reason):
        inspection.inspect(str(path), None, 1 << 40)


def test_an_encrypted_image_is_of_no_use(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection.formats, 'inspect', lambda path: 'luks')
    with pytest.raises(inspection.Refused, match='encrypted'):
        inspection.inspect(str(tmp_path / 'image'), None, 1 << 40)


@pytest.mark.parametrize(
    ('found', 'told', 'reason'),
    [
        ('qcow2', 'raw', 'a qcow2 image in turn'),
        ('raw', 'qcow2', 'a qcow2 image in turn'),
    ],
)
def test_a_raw_form_that_is_an_image_in_turn_is_refused(
    tmp_path, monkeypatch, said, found, told, reason
):
    monkeypatch.setattr(inspection.formats, 'inspect', lambda path: found)
    said(format=told)
    with pytest.raises(inspection.Refused, match=reason):
        inspection.require_raw(str(tmp_path / 'base'), 0)


def test_a_raw_form_that_qemu_img_cannot_read_is_refused(
    tmp_path, monkeypatch
):
    def fail(fd):
        raise qemu_img.Failed('no such format')

    monkeypatch.setattr(inspection.formats, 'inspect', lambda path: 'raw')
    monkeypatch.setattr(qemu_img, 'info', fail)
    with pytest.raises(inspection.Refused, match='no such format'):
        inspection.require_raw(str(tmp_path / 'base'), 0)


def test_small_images_may_grow_more_than_large_ones():
    assert inspection.allowance(1) == 256 * MIB
    assert inspection.allowance(100 * MIB) == 10_000 * MIB
