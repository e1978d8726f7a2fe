# SPDX-License-Identifier: Apache-2.0
"""The single-store and the multi-store configuration."""

import dataclasses
import io
import pathlib

import glance_store
import pytest
from glance_store import exceptions
from glance_store import location as glance_location
from glance_store import multi_backend
from oslo_config import cfg

from harness import host as hosts
from harness.host import Host
from harness.host import download
from tests.unit.driver.glance import DATA
from tests.unit.driver.glance import WRITE
from tests.unit.driver.glance import upload
from tmpl_glance_store import driver


@pytest.fixture
def no_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the stores of a test out of glance_store's global tables."""
    for name in ('SCHEME_TO_CLS_MAP', 'SCHEME_TO_CLS_BACKEND_MAP'):
        monkeypatch.setattr(glance_location, name, {})


def test_the_single_store_configuration_works(
    host: Host, no_schemes: None
) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    glance_store.register_opts(conf)
    for name, value in {
        **host.settings,
        'stores': ['tmpl'],
        'default_store': 'tmpl',
    }.items():
        conf.set_override(name, value, group='glance_store')
    assert glance_store.create_stores(conf) == 1
    store = glance_store.get_store_from_scheme('tmpl')
    image_id = hosts.new_id()
    url, *_, metadata = glance_store.store_add_to_backend_with_multihash(
        image_id, io.BytesIO(DATA), len(DATA), 'sha256', store
    )
    assert metadata == {}
    chunks, size = glance_store.get_from_backend(url)
    assert (b''.join(chunks), size) == (DATA, len(DATA))
    assert glance_store.get_size_from_backend(url) == len(DATA)
    glance_store.delete_from_backend(url)
    assert host.is_clean()


@dataclasses.dataclass
class Backends:
    """Several backends in one Glance, through glance_store's functions."""

    conf: cfg.ConfigOpts
    hosts: dict[str, Host]

    def store(self, name: str) -> driver.Store:
        return glance_location.SCHEME_TO_CLS_BACKEND_MAP['tmpl'][name]['store']

    def where(self, url: str, name: str) -> glance_location.Location:
        return glance_location.get_location_from_uri_and_backend(
            url, name, conf=self.conf
        )


@pytest.fixture
def backends(tmp_path: pathlib.Path, no_schemes: None) -> Backends:
    """Two backends on one catalog; their clusters are not configured."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    conf.register_opt(cfg.DictOpt('enabled_backends'))
    conf.set_override('enabled_backends', {'fast': 'tmpl', 'slow': 'tmpl'})
    multi_backend.register_store_opts(conf)
    found = {}
    for name in ('fast', 'slow'):
        found[name] = Host(
            tmp_path / name,
            tmpl_store_cluster=name,
            tmpl_store_catalog=f'sqlite:///{tmp_path}/c',
        )
        for option, value in found[name].settings.items():
            if option != 'tmpl_store_cluster':
                conf.set_override(option, value, group=name)
        found[name].catalog_url = f'sqlite:///{tmp_path}/c'
    multi_backend.create_multi_stores(conf)
    return Backends(conf, found)


def test_each_backend_has_a_cluster_of_its_own(backends: Backends) -> None:
    for name in ('fast', 'slow'):
        store = backends.store(name)
        assert store.url_prefix == f'tmpl://{name}/'
        url = upload(store)
        assert url.startswith(f'tmpl://{name}/')
        chunks, _ = store.get(backends.where(url, name))
        assert b''.join(chunks) == DATA
        assert len(backends.hosts[name].copies()) == 1
        assert backends.hosts[name].disagreements() == []
        store.delete(backends.where(url, name))
        assert backends.hosts[name].is_clean()


def test_the_metadata_name_the_backend(backends: Backends) -> None:
    for name in ('fast', 'slow'):
        *_, five = backends.store(name).add(
            hosts.new_id(), io.BytesIO(DATA), len(DATA), 'sha256'
        )
        *_, four = backends.store(name).add(
            hosts.new_id(), io.BytesIO(DATA), len(DATA)
        )
        assert five == four == {'store': name}


def test_one_image_may_be_in_several_backends(backends: Backends) -> None:
    image_id = hosts.new_id()
    fast, slow = (
        upload(backends.store(name), DATA, image_id)
        for name in ('fast', 'slow')
    )
    backends.store('fast').delete(backends.where(fast, 'fast'))
    assert backends.hosts['fast'].is_clean()
    chunks, _ = backends.store('slow').get(backends.where(slow, 'slow'))
    assert b''.join(chunks) == DATA


def test_a_backend_does_not_serve_the_urls_of_another(
    backends: Backends,
) -> None:
    url = upload(backends.store('fast'))
    slow = backends.store('slow')
    for call in (slow.get, slow.get_size, slow.delete):
        with pytest.raises(exceptions.NotFound):
            call(backends.where(url, 'slow'))
    assert len(backends.hosts['fast'].copies()) == 1


def test_the_weight_is_that_of_the_backend(
    backends: Backends, store: driver.Store
) -> None:
    backends.conf.set_override('weight', 7, group='slow')
    assert [backends.store(name).weight for name in ('fast', 'slow')] == [0, 7]
    assert store.weight == 0


def test_two_backends_cannot_share_a_directory(tmp_path: pathlib.Path) -> None:
    url = upload(Host(tmp_path, tmpl_store_cluster='one').store())
    other = Host(tmp_path, tmpl_store_cluster='two').store()
    assert not other.is_capable(WRITE)
    with pytest.raises(exceptions.StoreAddDisabled):
        upload(other)
    assert url


def test_what_backends_share_stands_in_backend_defaults(host: Host) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    store = driver.Store(conf, backend='fast')
    for name, value in host.settings.items():
        group = (
            'fast' if name == 'tmpl_store_locations' else 'backend_defaults'
        )
        conf.set_override(name, value, group=group)
    store.configure()
    assert store.url_prefix == 'tmpl://test/'
    assert download(store, upload(store)) == DATA
