# SPDX-License-Identifier: Apache-2.0
"""Options that make no sense."""

import pathlib
from typing import Any

import pytest
from glance_store import exceptions
from oslo_config import cfg

from harness.host import Host
from harness.host import at
from harness.host import download
from tests.unit.driver.glance import DATA
from tests.unit.driver.glance import upload
from tmpl_glance_store import driver

SENSELESS = {
    'no location': ({'tmpl_store_locations': []}, 'tmpl_store_locations'),
    'no tier': ({'tmpl_store_locations': ['/srv/a']}, '/srv/a'),
    'unknown tier': ({'tmpl_store_locations': ['nvme:/srv/a']}, 'nvme'),
    'relative path': ({'tmpl_store_locations': ['ssd:srv/a']}, 'srv/a'),
    'weight is no number': (
        {'tmpl_store_locations': ['ssd:/srv/a:much']},
        'much',
    ),
    'weight is zero': ({'tmpl_store_locations': ['ssd:/srv/a:0']}, 'weight'),
    'weight is negative': ({'tmpl_store_locations': ['ssd:/srv/a:-1']}, '-1'),
    'one directory twice': (
        {'tmpl_store_locations': ['ssd:/srv/a', 'hdd:/srv/b/../a/']},
        '/srv/a',
    ),
    'one within the other': (
        {
            'tmpl_store_locations': [
                'ssd:/srv/a',
                'ssd:/srv/a-b',
                'ssd:/srv/a/c',
            ]
        },
        '/srv/a/c',
    ),
    'cluster cannot be in a URL': (
        {'tmpl_store_cluster': 'my cluster'},
        'tmpl_store_cluster',
    ),
    'node has a slash': ({'tmpl_store_node': '../n'}, 'tmpl_store_node'),
    'catalog of no kind': (
        {'tmpl_store_catalog': 'nosql://x'},
        'tmpl_store_catalog',
    ),
    'catalog path is relative': (
        {'tmpl_store_catalog': 'sqlite://x.sqlite'},
        'tmpl_store_catalog',
    ),
    'catalog is below a file': (
        {'tmpl_store_catalog': 'sqlite:////proc/version/catalog'},
        'tmpl_store_catalog',
    ),
    'placement of no kind': (
        {'tmpl_store_placement': 'by_mood'},
        'tmpl_store_placement',
    ),
    'more copies at once than at all': (
        {'tmpl_store_copies': 1, 'tmpl_store_min_copies': 2},
        'tmpl_store_min_copies',
    ),
    'mode is no mode': (
        {'tmpl_store_directory_mode': 'rwx'},
        'tmpl_store_directory_mode',
    ),
    'mode locks the store out': (
        {'tmpl_store_directory_mode': '0077'},
        'tmpl_store_directory_mode',
    ),
    'no such group': (
        {'tmpl_store_group': 'no-such-group'},
        'tmpl_store_group',
    ),
}


@pytest.mark.parametrize('backend', [None, 'fast'])
@pytest.mark.parametrize(
    ('settings', 'told'), SENSELESS.values(), ids=SENSELESS
)
def test_an_option_that_makes_no_sense_disables_the_store_and_is_named(
    host: Host,
    settings: dict[str, Any],
    told: str,
    backend: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host.settings.update(settings)
    store = host.store(backend)
    assert told in caplog.text
    with pytest.raises(exceptions.StoreAddDisabled):
        upload(store)
    with pytest.raises(exceptions.BadStoreConfiguration) as caught:
        store.configure(re_raise_bsc=True)
    assert told in str(caught.value)
    assert not [path for path in host.paths if path.exists()]


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('tmpl_store_copies', 0),
        ('tmpl_store_copies', 'three'),
        ('tmpl_store_min_copies', 0),
        ('tmpl_store_write_timeout', 0),
        ('tmpl_store_reserve', -1),
        ('tmpl_store_reserve', 100),
        ('tmpl_store_chunk_size', 0),
        ('tmpl_store_chunk_size', 1 << 30),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_configuration(
    host: Host, name: str, value: object
) -> None:
    host.settings[name] = value
    with pytest.raises((ValueError, cfg.Error)):
        host.store()


def test_a_senseless_value_in_the_file_is_a_bad_configuration(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / 'glance.conf').write_text(
        f'[glance_store]\ntmpl_store_locations = ssd:{tmp_path}/a\n'
        'tmpl_store_copies = three\n'
    )
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(tmp_path / 'glance.conf')])
    with pytest.raises(exceptions.BadStoreConfiguration, match='three'):
        driver.Store(conf).configure(re_raise_bsc=True)


@pytest.mark.parametrize(
    'locations', [['ssd:a:0.0001'], ['ssd:a:0.0001', 'ssd:b:1000000']]
)
def test_a_tiny_weight_is_a_weight(
    tmp_path: pathlib.Path, locations: list[str]
) -> None:
    store = Host(tmp_path, *locations).store()
    assert download(store, upload(store)) == DATA


def test_a_store_that_is_not_configured_does_not_call_images_absent(
    host: Host, store: driver.Store
) -> None:
    url = upload(store)
    host.settings['tmpl_store_node'] = 'no good name'
    broken = host.store()
    for call in (broken.get, broken.get_size):
        with pytest.raises(exceptions.RemoteServiceUnavailable):
            call(at(broken, url))


def test_the_log_says_at_the_start_what_the_store_is(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO')
    host.store()
    (line,) = (
        each.getMessage()
        for each in caplog.records
        if 'is of cluster' in each.getMessage()
    )
    for part in (
        host.options.cluster,
        'node1',
        f'ssd:{host.paths[0]}',
        host.catalog_url,
    ):
        assert part in line
