# SPDX-License-Identifier: Apache-2.0
"""Templates that a tenant uploads to harm others, and one to compare with."""

import os
import pathlib
import struct
from collections.abc import Callable

from harness import host as hosts
from harness.disks import run

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40

#: The disk in what :func:`harmless` makes.
VIRTUAL = 64 * MIB


def harmless(directory: pathlib.Path, seed: int = 0, *options: str) -> bytes:
    """Return a qcow2 of 64 MiB with 8 MiB of data in it."""
    raw, path = directory / f'{seed}.raw', directory / f'{seed}.qcow2'
    raw.write_bytes(hosts.content(8 * MIB, seed))
    os.truncate(raw, VIRTUAL)
    run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', *options, raw, path)
    return path.read_bytes()


def _header(data: bytes, offset: int, layout: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, offset, *values)
    return bytes(changed)


def _backing(directory: pathlib.Path) -> bytes:
    path = directory / 'backing.qcow2'
    run(
        'qemu-img',
        'create',
        '-f',
        'qcow2',
        '-b',
        '/etc/passwd',
        '-F',
        'raw',
        path,
        '64M',
    )
    return path.read_bytes()


def _data_file(directory: pathlib.Path) -> bytes:
    path = directory / 'data.qcow2'
    run(
        'qemu-img',
        'create',
        '-f',
        'qcow2',
        '-o',
        f'data_file={directory}/data.raw,data_file_raw=on',
        path,
        '64M',
    )
    return path.read_bytes()


def _vmdk(_: pathlib.Path) -> bytes:
    return (
        b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\n'
        b'parentCID=ffffffff\ncreateType="monolithicFlat"\n'
        b'RW 8 FLAT "/etc/passwd" 0\n'
    ).ljust(4096, b'\n')


def _polyglot(directory: pathlib.Path) -> bytes:
    data = harmless(directory)[:32768]
    return data + b'\x01CD001\x01'.ljust(2048, b'\0') + bytes(65536)


def _bomb(directory: pathlib.Path) -> bytes:
    raw = directory / 'zero.raw'
    raw.touch()
    os.truncate(raw, 300 * MIB)
    run(
        'qemu-img',
        'convert',
        '-c',
        '-S',
        '0',
        '-O',
        'qcow2',
        raw,
        directory / 'bomb.qcow2',
    )
    return (directory / 'bomb.qcow2').read_bytes()


def _nested(directory: pathlib.Path, outer: str = 'qcow2') -> bytes:
    """A disk that begins like an image with a file of the host below it."""
    inner = directory / 'inner'
    run(
        'qemu-img',
        'create',
        '-u',
        '-f',
        'qcow2',
        '-b',
        '/etc/passwd',
        '-F',
        'raw',
        inner,
        '8M',
    )
    os.truncate(inner, 8 * MIB)
    run(
        'qemu-img',
        'convert',
        '-f',
        'raw',
        '-O',
        outer,
        inner,
        directory / 'outer',
    )
    return (directory / 'outer').read_bytes()


def _one_cluster(size: int, shift: int = 0) -> bytes:
    """A qcow2 whose whole disk is one and the same cluster of 64 KiB.

    :param size: of the disk
    :param shift: bytes by which the cluster is not aligned, which is an error
        for each of them
    """
    cluster = 1 << 16
    entries = cluster // 8
    tables = size // cluster // entries
    end = 5 + -(-tables * 8 // cluster)
    header = struct.pack(
        '>4sIQIIQIIQQIIQQQQII',
        b'QFI\xfb',
        3,
        0,
        0,
        16,
        size,
        0,
        tables,
        5 * cluster,
        cluster,
        1,
        0,
        0,
        0,
        0,
        0,
        6,
        104,
    )
    counts = [1] * end
    counts[3], counts[4] = tables, tables * entries
    parts = {
        0: header,
        1: struct.pack('>Q', 2 * cluster),
        2: struct.pack(f'>{end}Q', *counts),
        3: struct.pack('>Q', 4 * cluster + shift) * entries,
        4: b'\xa5' * cluster,
        5: struct.pack('>Q', 3 * cluster) * tables,
    }
    image = bytearray(end * cluster)
    for number, part in parts.items():
        image[number * cluster : number * cluster + len(part)] = part
    return bytes(image)


def _one_block(directory: pathlib.Path) -> bytes:
    """A VDI whose disk of 256 GiB is one and the same block of a MiB."""
    (directory / 'vdi.raw').write_bytes(hosts.content(MIB))
    run(
        'qemu-img',
        'convert',
        '-f',
        'raw',
        '-O',
        'vdi',
        directory / 'vdi.raw',
        directory / 'vdi',
    )
    image = bytearray((directory / 'vdi').read_bytes())
    blocks = 256 << 10
    (table,) = struct.unpack_from('<I', image, 0x154)
    data = -(-(table + 4 * blocks) // 512) * 512
    struct.pack_into('<I', image, 0x158, data)
    struct.pack_into('<Q', image, 0x170, blocks << 20)
    struct.pack_into('<II', image, 0x180, blocks, blocks)
    return bytes(image[:table]) + bytes(data - table) + hosts.content(MIB)


def _descriptor_before_noise(directory: pathlib.Path) -> bytes:
    """What breaks the inspector of VMDK itself."""
    return _vmdk(directory) + hosts.content(64 << 10)


HOSTILE: dict[str, Callable[[pathlib.Path], bytes]] = {
    'backing file': _backing,
    'data file': _data_file,
    'VMDK with an absolute extent': _vmdk,
    'ISO and qcow2': _polyglot,
    'two to the 60th bytes': lambda directory: _header(
        harmless(directory), 24, '>Q', 1 << 60
    ),
    'tables beyond the end': lambda directory: _header(
        harmless(directory), 36, '>IQ', 1 << 20, 1 << 40
    ),
    'image in an image': _nested,
    'image in a VMDK': lambda directory: _nested(directory, 'vmdk'),
    'disk of one cluster': lambda directory: _one_cluster(64 * GIB),
    'many complaints': lambda directory: _one_cluster(TIB, shift=512),
    'disk of one block': _one_block,
    'VMDK descriptor before noise': _descriptor_before_noise,
    'bomb': _bomb,
    'cut short': lambda directory: harmless(directory)[:MIB],
    'only the magic': lambda directory: b'QFI\xfb\0\0\0\3',
}
