# SPDX-License-Identifier: Apache-2.0
"""What a package installs beside the code: checked by systemd's own tools."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tmpl_glance_store.options import listing

ETC = pathlib.Path(__file__).resolve().parents[2] / 'etc'


def run(*command: object) -> str:
    """Run a tool that has to succeed; return what it said."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f'there is no {command[0]}; see bindep.txt')
    done = subprocess.run(
        [str(each) for each in command],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def unit(tmp_path: pathlib.Path) -> pathlib.Path:
    """The unit, with the program where this environment has it."""
    text = (ETC / 'systemd' / 'tmpl-agent.service').read_text()
    program = pathlib.Path(sys.executable).with_name('tmpl-agent')
    assert '/usr/bin/tmpl-agent' in text
    path = tmp_path / 'tmpl-agent.service'
    path.write_text(text.replace('/usr/bin/tmpl-agent', str(program)))
    return path


def test_the_unit_is_one(unit: pathlib.Path) -> None:
    assert run('systemd-analyze', 'verify', unit) == ''


def test_the_unit_exposes_little(unit: pathlib.Path) -> None:
    # 10 is a service without any hardening; the threshold is times ten.
    run(
        'systemd-analyze', 'security', '--offline=true', '--threshold=25', unit
    )


def test_a_new_machine_gets_the_user_and_the_directories(
    tmp_path: pathlib.Path,
) -> None:
    if os.geteuid() != 0:
        pytest.skip('only root can give directories away')
    (tmp_path / 'etc').mkdir()
    (tmp_path / 'etc' / 'group').write_text('adm:x:4:\n')
    (tmp_path / 'etc' / 'passwd').write_text('root:x:0:0::/root:/bin/sh\n')
    run(
        'systemd-sysusers',
        f'--root={tmp_path}',
        ETC / 'sysusers.d' / 'tmpl.conf',
    )
    (user,) = (
        line.split(':')
        for line in (tmp_path / 'etc' / 'passwd').read_text().splitlines()
        if line.startswith('tmpl:')
    )
    run(
        'systemd-tmpfiles',
        '--create',
        f'--root={tmp_path}',
        ETC / 'tmpfiles.d' / 'tmpl.conf',
    )
    for name, uid in (
        ('etc/tmpl', 0),
        ('var/lib/tmpl', int(user[2])),
        ('var/log/tmpl', int(user[2])),
    ):
        found = (tmp_path / name).stat()
        assert (found.st_uid, found.st_mode & 0o777) == (uid, 0o750), name


@pytest.mark.parametrize(
    ('name', 'groups'),
    [
        ('glance-api-tmpl', listing.list_store_opts()),
        ('tmpl-agent', listing.list_opts()),
    ],
)
def test_the_samples_have_every_option_as_it_is(
    name: str, groups: list[tuple[str, list]]
) -> None:
    text = (ETC / f'{name}.conf.sample').read_text()
    sections = dict(
        zip(
            *[iter(re.split(r'^\[(\w+)\]$', text, flags=re.MULTILINE)[1:])]
            * 2,
            strict=True,
        )
    )
    for group, options in groups:
        section = sections[group]
        assert re.findall(r'^#(\w+) =', section, re.MULTILINE) == [
            option.name for option in options
        ]
        words = ' '.join(section.replace('#', ' ').split())
        for option in options:
            assert ' '.join(option.help.split()) in words, option.name
