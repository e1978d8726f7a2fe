# SPDX-License-Identifier: Apache-2.0
"""What Nova downloads itself."""

from tests.unit.imagecache.parts import NAME
from tmpl_glance_store.imagecache import downloads


def test_downloads_are_noticed_while_they_run_and_once_afterwards(tmp_path):
    shown = downloads.Downloads(str(tmp_path))
    names = [letter * 40 for letter in 'abc']
    (tmp_path / names[0]).touch()
    assert not shown.look()  # who knows since when
    (tmp_path / f'{names[1]}.part').touch()
    assert shown.look()
    assert not shown.look()
    wanted = frozenset(names)
    assert shown.take(wanted) == shown.take(wanted) == {names[1]}
    (tmp_path / f'{names[1]}.part').rename(tmp_path / names[1])
    (tmp_path / names[2]).touch()
    assert shown.look()
    assert shown.take(frozenset(names[:2])) == {names[1]}
    assert shown.take(wanted) == {names[2]}
    assert shown.take(wanted) == frozenset()


def test_without_novas_directory_nothing_is_downloaded(tmp_path):
    shown = downloads.Downloads(str(tmp_path / 'gone'))
    assert not shown.look()
    assert shown.take(frozenset([NAME])) == frozenset()


def test_what_an_end_of_nova_has_left_is_no_download(tmp_path):
    shown = downloads.Downloads(str(tmp_path))
    (tmp_path / f'{NAME}.part').touch()
    assert shown.look()
    (tmp_path / NAME).touch()
    assert shown.take(frozenset([NAME])) == {NAME}  # it has appeared
    assert shown.take(frozenset([NAME])) == frozenset()
