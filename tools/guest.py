# SPDX-License-Identifier: Apache-2.0
"""A guest small enough to boot anywhere: made, and booted until it speaks.

The kernel, busybox and the boot loader are Debian's own packages. Neither root
nor KVM is needed: QEMU's TCG boots the guest in seconds.
"""

import dataclasses
import gzip
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import time

from tools.template_image import run

MIB = 1 << 20

#: Packages that only depend on the newest kernel: Debian's, and Ubuntu's.
_KERNELS = 'linux-image-cloud-amd64', 'linux-image-virtual'
_MODULES = (
    'virtio_ring',
    'virtio',
    'virtio_pci_legacy_dev',
    'virtio_pci_modern_dev',
    'virtio_pci',
    'virtio_blk',
)
_BUSYBOX = pathlib.Path('/bin/busybox')
_MBR = pathlib.Path('/usr/lib/syslinux/mbr/mbr.bin')
_PARTITION = 1 * MIB
_MARK_AT = 512 << 10  # bytes; between the boot record and the partition
_PATIENCE = 180  # seconds for a boot on a slow machine

# What the guest does: find its disk, say what is marked on it, write to it.
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in %(modules)s; do /bin/busybox insmod /$module.ko; done
while [ ! -b /dev/vda ]; do /bin/busybox sleep 0.1; done
mark=$(/bin/busybox dd if=/dev/vda bs=512 skip=%(sector)d count=1 2>/dev/null)
echo written | /bin/busybox dd of=/dev/vda bs=512 seek=%(next)d 2>/dev/null
/bin/busybox sync
echo "guest-is-up: $mark" > /dev/ttyS0
/bin/busybox poweroff -f
"""


@dataclasses.dataclass(frozen=True)
class Guest:
    """A bootable qcow2 at *path*; *mark* is what it says when it is up."""

    path: pathlib.Path
    mark: str


@dataclasses.dataclass(frozen=True)
class Boot:
    """``seconds`` from power-on to the mark on the serial console."""

    seconds: float
    console: str


def make_guest(directory: pathlib.Path) -> Guest:
    """Return a new bootable template in *directory*.

    :raises subprocess.CalledProcessError: if a tool fails
    """
    tree, disk = directory / 'guest', directory / 'guest.raw'
    kernel, modules = _kernel(tree)
    initramfs = _initramfs(tree, modules)
    mark = secrets.token_hex(16)
    disk.touch()
    os.truncate(disk, 64 * MIB)
    run(
        'sfdisk',
        '--quiet',
        disk,
        stdin=(f'label: dos\nstart={_PARTITION // 512}, type=e, bootable\n'),
    )
    with disk.open('r+b') as file:  # the code leaves the table as it is
        file.write(_MBR.read_bytes())
        file.seek(_MARK_AT)
        file.write(mark.encode().ljust(512, b'\n'))
    blocks = (64 * MIB - _PARTITION) // 1024
    run('mkfs.vfat', f'--offset={_PARTITION // 512}', disk, str(blocks))
    run('syslinux', '--install', f'--offset={_PARTITION}', disk)
    loader = tree / 'syslinux.cfg'
    loader.write_text(
        'default linux\nlabel linux\n kernel linux\n initrd '
        'initrd\n append console=ttyS0 quiet panic=-1\n'
    )
    for source, name in (
        (kernel, 'linux'),
        (initramfs, 'initrd'),
        (loader, 'syslinux.cfg'),
    ):
        run('mcopy', '-i', f'{disk}@@{_PARTITION}', source, f'::{name}')
    path = directory / 'guest.qcow2'
    run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', disk, path)
    shutil.rmtree(tree)
    disk.unlink()
    return Guest(path, mark)


def make_overlay(
    base: pathlib.Path, base_format: str, overlay: pathlib.Path
) -> None:
    """Make a linked clone, as Nova does."""
    run(
        'qemu-img',
        'create',
        '-q',
        '-f',
        'qcow2',
        '-F',
        base_format,
        '-b',
        base,
        overlay,
    )


def boot(disk: pathlib.Path, mark: str) -> Boot:
    """Boot a qcow2 until the guest has said its mark and is off.

    :raises TimeoutError: if it does not; says what was on the console
    """
    console = disk.with_suffix('.console')
    console.touch()
    start = time.monotonic()
    with subprocess.Popen(
        # setpriv: should we be killed, it dies too.
        [
            'setpriv',
            '--pdeathsig',
            'KILL',
            'qemu-system-x86_64',
            '-machine',
            'pc,accel=tcg',
            '-m',
            '192',
            '-nodefaults',
            '-display',
            'none',
            '-no-reboot',
            '-drive',
            f'file={disk},format=qcow2,if=virtio',
            '-serial',
            f'file:{console}',
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            while f'guest-is-up: {mark}' not in console.read_text(
                errors='replace'
            ):
                if (
                    process.poll() is not None
                    or time.monotonic() - start > _PATIENCE
                ):
                    raise TimeoutError(
                        f'{disk} has not come up: '
                        f'{console.read_text()[-2000:]}'
                    )
                time.sleep(0.02)
            seconds = time.monotonic() - start
            process.wait(_PATIENCE)
        finally:
            process.kill()
    return Boot(seconds, console.read_text(errors='replace'))


def _kernel(tree: pathlib.Path) -> tuple[pathlib.Path, list[pathlib.Path]]:
    """Return the kernel and the modules of Debian's newest cloud kernel.

    The package is unpacked, not installed: a kernel changes the machine.
    """
    packages = tree / 'packages'
    packages.mkdir(parents=True)
    name = next(
        (
            found
            for each in _KERNELS
            if (
                found := re.search(
                    r'Depends: (linux-image-\S+)', _depends(each)
                )
            )
        ),
        None,
    )
    if name is None:
        raise FileNotFoundError(
            f'apt knows none of {", ".join(_KERNELS)}: run apt-get update'
        )
    subprocess.run(
        ['apt-get', '-qq', 'download', name[1]],
        cwd=packages,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (package,) = packages.glob('*.deb')
    run('dpkg-deb', '-x', package, packages)
    (kernel,) = (packages / 'boot').glob('vmlinuz-*')
    modules = [next(packages.rglob(f'{each}.ko')) for each in _MODULES]
    return kernel, modules


def _depends(package: str) -> str:
    return subprocess.run(
        ['apt-cache', 'depends', package],
        text=True,
        check=False,
        capture_output=True,
    ).stdout


def _initramfs(
    tree: pathlib.Path, modules: list[pathlib.Path]
) -> pathlib.Path:
    root = tree / 'root'
    (root / 'bin').mkdir(parents=True)
    (root / 'dev').mkdir()
    shutil.copy(_BUSYBOX, root / 'bin' / 'busybox')
    for module in modules:
        shutil.copy(module, root)
    init = root / 'init'
    init.write_text(
        _INIT
        % {
            'modules': ' '.join(_MODULES),
            'sector': _MARK_AT // 512,
            'next': _MARK_AT // 512 + 1,
        }
    )
    init.chmod(0o755)
    names = '\n'.join(
        str(each.relative_to(root)) for each in sorted(root.rglob('*'))
    )
    archive = subprocess.run(
        ['cpio', '--quiet', '-o', '-H', 'newc'],
        cwd=root,
        input=names.encode(),
        check=True,
        capture_output=True,
    ).stdout
    path = tree / 'initrd'
    path.write_bytes(gzip.compress(archive, 1))
    return path
