# SPDX-License-Identifier: Apache-2.0
"""Which instances sit on which base file."""

import json
import os
import subprocess

import pytest

from tests.unit.imagecache.parts import NAME
from tmpl_glance_store.imagecache import instances


def overlay(path, base, *options):
    path.parent.mkdir(exist_ok=True)
    subprocess.run(
        [
            'qemu-img',
            'create',
            '-q',
            '-u',
            '-f',
            'qcow2',
            '-F',
            'qcow2',
            '-b',
            base,
            *options,
            path,
            '1M',
        ],
        check=True,
    )


@pytest.mark.parametrize('name', ['disk', 'disk.info'])
def test_what_is_no_file_makes_nobody_wait(tmp_path, name):
    overlay(tmp_path / 'vm' / 'disk', tmp_path / '_base' / NAME)
    (tmp_path / 'vm' / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / 'vm' / name)
    found = instances.Instances(str(tmp_path)).by_base()
    assert found == ({NAME: ['vm']} if name == 'disk.info' else {})


@pytest.mark.parametrize(
    'options', [(), ('-o', 'compat=0.10'), ('-o', 'cluster_size=2M')]
)
def test_instances_are_found_through_all_disks_that_they_sit_on(
    tmp_path, options
):
    base = tmp_path / '_base' / NAME
    overlay(tmp_path / 'vm' / 'disk', tmp_path / 'vm' / 'before', *options)
    overlay(tmp_path / 'vm' / 'before', base)  # of a snapshot
    overlay(tmp_path / 'other' / 'disk', f'/nova/instances/_base/{NAME}')
    assert instances.Instances(str(tmp_path)).by_base()[NAME] == [
        'other',
        'vm',
    ]


def test_a_look_that_hangs_keeps_nobody_else_waiting(tmp_path, monkeypatch):
    overlay(tmp_path / 'vm' / 'disk', tmp_path / '_base' / NAME)
    shown = instances.Instances(str(tmp_path))
    assert shown.by_base() == {NAME: ['vm']}
    monkeypatch.setattr(instances, '_PATIENCE', 0.1)
    with shown._looking:
        (tmp_path / 'vm' / 'disk').unlink()
        assert shown.by_base() == {NAME: ['vm']}
    assert shown.by_base() == {}


def test_a_raw_disk_is_its_guests_own(tmp_path):
    overlay(tmp_path / 'vm' / 'disk', tmp_path / '_base' / NAME)
    # Nova's own record, by the path in its container.
    (tmp_path / 'vm' / 'disk.info').write_text(
        json.dumps({'/nova/instances/vm/disk': 'raw'})
    )
    assert instances.Instances(str(tmp_path)).by_base() == {}


@pytest.mark.parametrize(
    'name', ['nbd:localhost:1', 'json:{"driver":"nbd"}', '/nowhere/x']
)
def test_what_a_disk_names_is_not_opened(tmp_path, monkeypatch, name):
    overlay(tmp_path / 'vm' / 'disk', name)
    opened = []
    really_open = os.open

    def noting(path, *args, **kwargs):
        opened.append(str(path))
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(os, 'open', noting)
    instances.Instances(str(tmp_path)).by_base()
    assert {os.path.basename(each) for each in opened} == {'disk', 'disk.info'}
