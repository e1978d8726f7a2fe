# SPDX-License-Identifier: Apache-2.0
"""A policy and a driver of somebody else, which bring options."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import stevedore
from oslo_config import cfg
from stevedore import driver as stevedore_driver

from tests.contract import policy
from tmpl_glance_store import exceptions
from tmpl_glance_store import factory
from tmpl_glance_store import objects
from tmpl_glance_store.options import listing
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts
from tmpl_glance_store.placement import all_nodes
from tmpl_glance_store.placement import contract


class ByName(contract.Policy):
    """The first nodes by name, and as many as an option says."""

    OPTIONS = (
        cfg.IntOpt('tmpl_store_first_nodes', default=3, min=1),
        cfg.BoolOpt('tmpl_store_backwards', default=False),
    )

    def __init__(
        self,
        locations: Sequence[objects.Location],
        copies: int,
        *,
        first_nodes: int,
        backwards: bool,
    ) -> None:
        self.first_nodes = first_nodes
        self._locations = sorted(
            contract.candidates(locations, objects.SSD, objects.HDD),
            key=lambda each: (each.node, each.id),
            reverse=backwards,
        )

    def targets(
        self, position: int, usable: contract.Usable = contract.anywhere
    ) -> list[objects.Location]:
        """See the contract."""
        found: dict[str, objects.Location] = {}
        for location in self._locations:
            if usable(location):
                found.setdefault(location.node, location)
        return list(found.values())[: self.first_nodes]

    def ranges(self) -> Iterator[tuple[int, int, objects.Location]]:
        """See the contract."""
        return iter(())


class TestContract(policy.PolicyContract):
    def build(
        self, locations: list[objects.Location], copies: int
    ) -> contract.Policy:
        return ByName(
            locations, copies, **plugins.defaults(plugins.options_of(ByName))
        )


class Tape:
    """A driver of a catalog."""

    OPTIONS = (cfg.StrOpt('tmpl_store_tape_drive', default='/dev/st0'),)

    def __init__(self, url: str, *, tape_drive: str) -> None:
        self.url = url
        self.tape_drive = tape_drive


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Install plug-ins, by name."""
    found: dict[str, Any] = {
        'all_nodes': all_nodes.AllNodes,
        'by_name': ByName,
        'tape': Tape,
    }
    real = stevedore_driver.DriverManager

    def manager(namespace: str, name: str) -> stevedore_driver.DriverManager:
        extension = stevedore.extension.Extension(
            name, None, found[name], None
        )
        return real.make_test_instance(extension)

    monkeypatch.setattr(plugins.driver, 'DriverManager', manager)
    plugins._load.cache_clear()
    yield found
    plugins._load.cache_clear()


Read = Callable[..., opts.Options]


def test_a_policy_is_given_the_options_that_it_brings(
    installed: dict[str, Any], read: Read
) -> None:
    options = read(placement='by_name', first_nodes=7)
    built = factory.build_policy(options.placement, [])
    assert isinstance(built, ByName)
    assert built.first_nodes == 7


def test_an_option_of_a_policy_has_its_default(
    installed: dict[str, Any], read: Read
) -> None:
    built = factory.build_policy(read(placement='by_name').placement, [])
    assert built.first_nodes == 3


@pytest.mark.parametrize('value', ['0', 'many'])
def test_a_value_that_a_policy_cannot_use_is_refused_by_name(
    installed: dict[str, Any], read: Read, value: str
) -> None:
    options = read(placement='by_name', first_nodes=value)
    with pytest.raises(
        exceptions.BadConfiguration, match='tmpl_store_first_nodes'
    ):
        factory.build_policy(options.placement, [])


def test_a_policy_that_is_not_chosen_brings_nothing(
    installed: dict[str, Any], read: Read
) -> None:
    options = read(placement='all_nodes', first_nodes='many')
    assert (
        factory.build_policy(options.placement.everywhere(), []).targets(5)
        == []
    )


def test_a_driver_is_given_the_options_that_it_brings(
    installed: dict[str, Any], read: Read
) -> None:
    options = read(catalog='tape://vault', tape_drive='/dev/nst1')
    built = factory.build_catalog_store(
        options.catalog.url, options.catalog.brought
    )
    assert isinstance(built, Tape)
    assert (built.url, built.tape_drive) == ('tape://vault', '/dev/nst1')


@pytest.mark.parametrize(
    ('option', 'why'),
    [
        (cfg.StrOpt('workers'), 'has to begin with tmpl_store_'),
        (cfg.StrOpt('tmpl_store_copies'), 'tmpl_store_copies'),
    ],
)
def test_an_option_whose_name_is_not_free_is_refused(
    installed: dict[str, Any],
    read: Read,
    monkeypatch: pytest.MonkeyPatch,
    option: cfg.Opt,
    why: str,
) -> None:
    monkeypatch.setattr(ByName, 'OPTIONS', (option,))
    options = read(placement='by_name')
    with pytest.raises(exceptions.BadConfiguration, match=why):
        factory.build_policy(options.placement, [])


def test_options_of_our_own_plug_ins_are_in_the_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(all_nodes.AllNodes, 'OPTIONS', ByName.OPTIONS)
    ((_, listed),) = listing.list_store_opts()
    assert [*listed[-2:]] == [*ByName.OPTIONS]
