# SPDX-License-Identifier: Apache-2.0
import grp
import os

import pytest

from tmpl_glance_store import exceptions
from tmpl_glance_store.options import locations as location_options


@pytest.mark.parametrize(
    ('text', 'tier', 'path', 'weight'),
    [
        ('ssd:/srv/ssd0', 'ssd', '/srv/ssd0', None),
        ('hdd:/srv/hdd0:800', 'hdd', '/srv/hdd0', 800.0),
        ('auto:/srv/a:0.5', 'auto', '/srv/a', 0.5),
        ('staging:/srv/s', 'staging', '/srv/s', None),
        ('  ssd:/srv/ssd0:8  ', 'ssd', '/srv/ssd0', 8.0),
        ('ssd:/srv//a/../b/', 'ssd', '/srv/b', None),
        ('ssd:/srv/with blank:7', 'ssd', '/srv/with blank', 7.0),
    ],
)
def test_a_location_is_a_tier_a_path_and_perhaps_a_weight(
    text, tier, path, weight
):
    assert location_options.LocationSpec.parse(
        text
    ) == location_options.LocationSpec(tier, path, weight)


@pytest.mark.parametrize(
    'text',
    [
        '',
        'ssd',
        'ssd:',
        '/srv/ssd0',
        'ssd:srv/ssd0',
        'ssd:~/x',
        ':/srv/ssd0',
        'nvme:/srv/ssd0',
        'SSD:/srv/ssd0',
        'ssd /srv/ssd0',
        'ssd:/srv/ssd0:0',
        'ssd:/srv/ssd0:0.0',
    ],
)
def test_a_location_of_another_form_is_refused(text):
    with pytest.raises(
        exceptions.BadConfiguration, match='tmpl_store_locations'
    ):
        location_options.LocationSpec.parse(text)


@pytest.mark.parametrize('weight', ['800G', '-5', '1.2.3', '', '1,5'])
def test_a_weight_that_is_no_number_is_not_taken_for_a_part_of_the_path(
    weight,
):
    with pytest.raises(
        exceptions.BadConfiguration, match='tmpl_store_locations'
    ):
        location_options.LocationSpec.parse(f'ssd:/srv/ssd0:{weight}')


def test_locations_keep_their_order(read):
    assert [
        spec.path
        for spec in read(
            locations=['ssd:/b', 'hdd:/c', 'ssd:/a:5']
        ).locations.specs
    ] == ['/b', '/c', '/a']


def test_no_location_at_all_is_refused(read):
    with pytest.raises(exceptions.BadConfiguration, match='not set'):
        read(locations=[])


@pytest.mark.parametrize(
    'paths',
    [
        ('/srv/a', '/srv/a'),
        ('/srv/a', '/srv/a/'),
        ('/srv/a/b', '/srv/a'),
        ('/srv/b', '/srv/a', '/srv/b/c/d'),
        ('/', '/srv'),
        ('/srv/a', '/srv/a-b', '/srv/a/c'),
        ('/srv/a', '/srv/a.d', '/srv/a/c'),
    ],
)
def test_a_disk_given_twice_is_refused(read, paths):
    with pytest.raises(exceptions.BadConfiguration, match='same directory'):
        read(locations=[f'ssd:{path}' for path in paths])


def test_a_disk_given_twice_through_a_symlink_is_refused(read, tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    with pytest.raises(exceptions.BadConfiguration, match='same directory'):
        read(locations=[f'ssd:{tmp_path}/link', f'hdd:{tmp_path}/real/x'])


def test_neighbours_with_similar_names_are_no_conflict(read):
    assert (
        len(
            read(
                locations=['ssd:/srv/a', 'ssd:/srv/a-b', 'ssd:/srv/ab']
            ).locations.specs
        )
        == 3
    )


# How they are kept


@pytest.mark.parametrize(
    ('text', 'mode'),
    [('0750', 0o750), ('750', 0o750), ('2770', 0o2770), ('02750', 0o2750)],
)
def test_a_directory_mode_is_octal(read, text, mode):
    assert read(directory_mode=text).locations.directory_mode == mode


@pytest.mark.parametrize(
    'text',
    ['0o750', '75', '0780', 'rwxr-x---', '-750', '00000750', '0650', '050'],
)
def test_a_directory_mode_that_makes_no_sense_is_refused(read, text):
    with pytest.raises(
        exceptions.BadConfiguration, match='tmpl_store_directory_mode'
    ):
        read(directory_mode=text)


def test_a_group_is_a_name_or_a_number(read):
    mine = grp.getgrgid(os.getgid())
    assert read(group=mine.gr_name).locations.group == mine.gr_gid
    assert read(group='12345').locations.group == 12345
    assert read(group='0').locations.group == 0


@pytest.mark.parametrize('group', ['no-such-group', '-1', '²'])
def test_an_unknown_group_is_refused(read, group):
    with pytest.raises(exceptions.BadConfiguration):
        read(group=group)
