# SPDX-License-Identifier: Apache-2.0
"""What becomes of a program that hostile files take over."""

import os
import select
import shutil
import subprocess

import pytest

from tests.unit.disk_images.images import image
from tmpl_glance_store import exceptions
from tmpl_glance_store.disk_images import inspection
from tmpl_glance_store.disk_images import qemu_img as door
from tmpl_glance_store.disk_images import sandbox


@pytest.fixture
def qemu_img(tmp_path, monkeypatch):
    """Let a script of our own stand before qemu-img."""

    def replace(script):
        directory = tmp_path / 'bin'
        directory.mkdir(exist_ok=True)
        (directory / 'qemu-img').write_text(f'#!/bin/sh\n{script}\n')
        (directory / 'qemu-img').chmod(0o755)
        for each in (directory, *directory.parents):
            if each.stat().st_mode & 0o001 == 0:
                each.chmod(0o755)  # it runs as nobody
        monkeypatch.setenv('PATH', f'{directory}:{os.environ["PATH"]}')

    return replace


@pytest.mark.parametrize(
    ('script', 'error'),
    [
        ('kill -KILL $$', exceptions.Unavailable),  # short of memory
        ('kill -TERM $$', exceptions.Unavailable),
        ('kill -XCPU $$', inspection.Refused),
        ('kill -ABRT $$', inspection.Refused),
        ('echo no such format >&2; exit 1', inspection.Refused),
        ('echo {', inspection.Refused),
        ('yes complaint >&2', inspection.Refused),
        ('yes answer', inspection.Refused),
    ],
)
def test_only_what_qemu_img_says_itself_refuses_an_image(
    tmp_path, qemu_img, script, error
):
    path = image(tmp_path, 'qcow2')
    qemu_img(script)
    with pytest.raises(error):
        inspection.inspect(str(path), 'qcow2', 1 << 40)


def test_without_qemu_img_nothing_is_refused(tmp_path, monkeypatch):
    path = image(tmp_path, 'qcow2')
    (tmp_path / 'bin').mkdir()
    for name in 'prlimit', 'setpriv':
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    with pytest.raises(exceptions.Unavailable, match='qemu-img'):
        inspection.inspect(str(path), 'qcow2', 1 << 40)


def test_a_question_has_to_be_answered_in_time(monkeypatch):
    def hang(*args, timeout, **kwargs):
        raise subprocess.TimeoutExpired('qemu-img', timeout)

    monkeypatch.setattr(subprocess, 'run', hang)
    with pytest.raises(exceptions.Unavailable, match='no answer within 120 s'):
        sandbox.ask(('qemu-img', 'info'), ())


@pytest.mark.parametrize(
    ('script', 'error'),
    [
        ('exit 3', 'ended with 3'),
        ('yes complaint >&2', 'complains too much'),
    ],
)
def test_a_conversion_fails_with_the_program(
    tmp_path, qemu_img, monkeypatch, script, error
):
    monkeypatch.setattr(sandbox, '_POLL', 0.01)
    qemu_img(script)
    with (tmp_path / 'raw').open('wb') as file:
        fd = file.fileno()
        with pytest.raises(sandbox.Failed, match=error):
            door.convert_to_raw(
                fd,
                'qcow2',
                fd,
                progress=lambda percentage: None,
                check=lambda: None,
            )


def ends(pid):
    """Wait for the end of a process: a signal takes its time to arrive."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)


def test_what_the_program_has_started_ends_with_it(
    tmp_path, qemu_img, monkeypatch
):
    monkeypatch.setattr(sandbox, '_POLL', 0.01)
    pid = tmp_path / 'pid'
    pid.touch()
    pid.chmod(0o666)
    qemu_img(f'yes complaint >&2 & echo $! >{pid}; wait')
    with (tmp_path / 'raw').open('wb') as file:
        fd = file.fileno()
        with pytest.raises(sandbox.Failed, match='complains too much'):
            door.convert_to_raw(
                fd,
                'qcow2',
                fd,
                progress=lambda percentage: None,
                check=lambda: None,
            )
    assert ends(int(pid.read_text()))


def test_the_progress_is_the_last_that_was_said():
    assert door._percentage(b'(1.00/100%)\r    (12.50/100%)\r') == 12.5
    assert door._percentage(b'') == 0
