# SPDX-License-Identifier: Apache-2.0
import pytest
from oslo_config import cfg

from tmpl_glance_store import exceptions
from tmpl_glance_store.options import nova
from tmpl_glance_store.options import nova_opts


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
