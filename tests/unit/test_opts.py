# SPDX-License-Identifier: Apache-2.0
import grp
import os
import socket

import pytest
from oslo_config import cfg

from tmpl_glance_store import exceptions
from tmpl_glance_store.options import agent
from tmpl_glance_store.options import listing
from tmpl_glance_store.options import locations as location_options
from tmpl_glance_store.options import nova
from tmpl_glance_store.options import nova_opts
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts


@pytest.fixture
def read(tmp_path):
    """Read options through a real configuration file."""

    def read(
        default_cluster=opts.DEFAULT_CLUSTER,
        *,
        locations=('ssd:/srv/ssd0',),
        **options,
    ):
        lines = [f'tmpl_store_locations = {each}' for each in locations]
        lines += [f'tmpl_store_{k} = {v}' for k, v in options.items()]
        path = tmp_path / 'some.conf'
        path.write_text('\n'.join(['[tmpl]', *lines]))
        conf = cfg.ConfigOpts()
        conf.register_opts(opts.STORE_OPTS, 'tmpl')
        conf(['--config-file', str(path)], default_config_dirs=[])
        return opts.read(plugins.group_of(conf, 'tmpl'), default_cluster)

    return read


# Locations


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


# Names


def test_the_node_is_the_host_unless_set(read, monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: 'Node-7.Example')
    assert read().node == 'node-7.example'
    assert read(node='Mine').node == 'mine'


def test_the_cluster_is_named_by_the_caller_unless_set(read):
    assert read().cluster == 'tmpl'
    assert read('Fast').cluster == 'fast'
    assert read('fast', cluster='blue').cluster == 'blue'


@pytest.mark.parametrize('option', ['cluster', 'node'])
@pytest.mark.parametrize(
    'value', ['a/b', '..', '-a', 'a b', 'ä', 'a' * 300, 'a%2f']
)
def test_a_name_that_fits_no_url_is_refused(read, option, value):
    with pytest.raises(
        exceptions.BadConfiguration, match=f'tmpl_store_{option}'
    ):
        read(**{option: value})


def test_a_backend_whose_name_is_no_cluster_name_is_refused(read):
    with pytest.raises(
        exceptions.BadConfiguration, match='tmpl_store_cluster'
    ):
        read('fast.ssd')
    assert read('fast.ssd', cluster='fast').cluster == 'fast'


# The others


def test_the_defaults_are_those_of_the_design(read):
    found = read()
    assert (
        found.catalog.url,
        found.placement.name,
        found.placement.copies,
        found.uploads.min_copies,
    ) == ('sqlite:////var/lib/tmpl/catalog.sqlite', 'auto', 3, 1)
    assert (found.locations.directory_mode, found.locations.group) == (
        0o750,
        None,
    )


def test_options_are_read_from_the_file(read):
    found = read(
        catalog='etcd://x',
        placement='all_nodes',
        copies=5,
        min_copies=5,
        write_timeout=7,
        reserve=2.5,
        chunk_size=4096,
    )
    assert (
        found.catalog.url,
        found.placement.name,
        found.placement.copies,
        found.uploads.min_copies,
        found.uploads.write_timeout,
        found.locations.reserve,
        found.uploads.chunk_size,
    ) == ('etcd://x', 'all_nodes', 5, 5, 7, 2.5, 4096)


@pytest.mark.parametrize(
    'options',
    [
        {'copies': 0},
        {'copies': 'many'},
        {'min_copies': 0},
        {'copies': 2, 'min_copies': 3},
        {'write_timeout': 0},
        {'reserve': -1},
        {'reserve': 96},
        {'chunk_size': 0},
        {'chunk_size': (16 << 20) + 1},
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name(read, options):
    with pytest.raises(
        exceptions.BadConfiguration, match=f'tmpl_store_{list(options)[-1]}'
    ):
        read(**options)


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


def test_every_option_is_for_the_sample_with_a_help():
    groups = dict(listing.list_opts())
    assert groups == {
        'tmpl': opts.STORE_OPTS + agent.AGENT_OPTS,
        'nova': nova_opts.NOVA_OPTS,
    }
    assert all(
        option.name.startswith('tmpl_store_') for option in groups['tmpl']
    )
    # A first line of its own, then when to change it.
    assert not [
        option.name
        for options in groups.values()
        for option in options
        if len(option.help.strip().partition('\n\n')[2]) < 40
    ]


# Publishing


@pytest.fixture
def read_nova(tmp_path):
    """Read the options of publishing through a real configuration file."""

    def read_nova(**options):
        path = tmp_path / 'agent.conf'
        path.write_text(
            '\n'.join(
                [
                    '[nova]',
                    *(f'{name} = {value}' for name, value in options.items()),
                ]
            )
        )
        conf = cfg.ConfigOpts()
        conf.register_opts(nova_opts.NOVA_OPTS, 'nova')
        conf(['--config-file', str(path)], default_config_dirs=[])
        return nova.read(conf.nova)

    return read_nova


def test_nothing_is_published_unless_it_is_known_where(read_nova):
    assert read_nova() is None
    assert read_nova(instances_path='/srv/nova', publish='off') is None


def test_publishing_needs_no_more_than_the_directory(read_nova):
    options = read_nova(instances_path='/srv/nova')
    assert options.base_directory == '/srv/nova/_base'
    assert options.force_raw
    assert options.publish == 'auto'
    assert options.mode == 0o644
    assert options.max_virtual_size == 16 << 40
    assert (options.user, options.group, options.hypervisor_user) == (
        None,
        None,
        None,
    )


def test_nova_conf_says_what_is_not_said_here(read_nova, tmp_path):
    nova_conf = tmp_path / 'nova.conf'
    nova_conf.write_text(
        '[DEFAULT]\nstate_path = /srv/state\nforce_raw_images = no\n'
        'compute_driver = libvirt.LibvirtDriver\n'
        '[image_cache]\nsubdirectory_name = cache\n'
    )
    options = read_nova(nova_config_file=nova_conf)
    assert options.instances_path == '/srv/state/instances'
    assert options.base_directory == '/srv/state/instances/cache'
    assert not options.force_raw
    assert not options.complete_clones
    options = read_nova(
        nova_config_file=nova_conf,
        instances_path='/x',
        image_cache_subdirectory_name='y',
        force_raw=True,
    )
    assert options.base_directory == '/x/y'
    assert options.force_raw


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('instances_path', 'relative', 'not absolute'),
        ('image_cache_subdirectory_name', '../other', 'name of a directory'),
        ('image_cache_subdirectory_name', '..', 'name of a directory'),
        ('mode', '0640', 'everybody'),
        ('mode', '0666', 'everybody'),
        ('mode', 'rw', 'everybody'),
        ('user', 'no-such-user', 'no user'),
        ('hypervisor_user', 'no-such-user', 'no user'),
        ('group', 'no-such-group', 'no group'),
        ('publish', 'magic', 'publish'),
        ('lock_timeout', '-1', 'lock_timeout'),
        ('nova_config_file', '/no/such/nova.conf', 'nova.conf'),
    ],
)
def test_an_option_of_publishing_that_makes_no_sense(
    read_nova, name, value, message
):
    with pytest.raises(exceptions.BadConfiguration, match=message):
        read_nova(**{'instances_path': '/srv/nova', name: value})


@pytest.mark.parametrize(
    ('said', 'complete'),
    [
        ('', False),
        ('[libvirt]\nimages_type = qcow2', False),
        ('[libvirt]\nimages_type = raw', True),
        ('[libvirt]\nimages_type = flat', True),
        ('[libvirt]\nimages_type = rbd', False),
        ('[libvirt]\nimages_type = default', False),
        ('[DEFAULT]\nuse_cow_images = no', True),
    ],
)
def test_nova_conf_says_whether_base_files_are_copied(
    read_nova, tmp_path, said, complete
):
    nova_conf = tmp_path / 'nova.conf'
    nova_conf.write_text(said)
    assert read_nova(nova_config_file=nova_conf).complete_clones == complete
    assert not read_nova(
        nova_config_file=nova_conf, images_type='qcow2'
    ).complete_clones


@pytest.mark.parametrize(
    ('name', 'value'),
    [('publish', 'hardlink'), ('publish', 'symlink'), ('mode', '0444')],
)
def test_complete_clones_need_base_files_of_their_own(read_nova, name, value):
    options = {'instances_path': '/srv/nova', name: value}
    assert not read_nova(**options).complete_clones
    with pytest.raises(exceptions.BadConfiguration, match=name):
        read_nova(**options, images_type='raw')
    assert read_nova(
        instances_path='/srv/nova', publish='copy', images_type='raw'
    ).complete_clones
