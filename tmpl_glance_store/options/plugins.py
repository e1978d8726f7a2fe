# SPDX-License-Identifier: Apache-2.0
"""Plug-ins, and the options that they bring.

A plug-in is a class at an entry point in a namespace of stevedore. Its
attribute ``OPTIONS``, if it has one, lists options of oslo.config. They are
registered beside our own, in the same group, when the plug-in is chosen. Their
names begin with ``tmpl_store_``, and what follows is the name of the keyword
argument as which the constructor is given the value.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

from oslo_config import cfg
from stevedore import driver

from tmpl_glance_store import exceptions
from tmpl_glance_store.options import checks

#: Of every option, because Glance has options in the same group.
PREFIX = 'tmpl_store_'

#: Registers options in the group of a store, and returns that group: an
#: object with one attribute an option.
Group = Callable[[Sequence[cfg.Opt]], Any]

#: Reads options that a plug-in brings: keyword arguments of its constructor.
Reader = Callable[[Sequence[cfg.Opt]], Mapping[str, Any]]


def load(kind: str, option: str, name: str) -> Any:
    """Return the class of the plug-in *name*.

    :param kind: last part of the namespace, such as ``placement``
    :param option: that names the plug-in
    :raises BadConfiguration: if there is none, or it cannot be loaded
    """
    try:
        return _load(f'tmpl_glance_store.{kind}', name)
    except RuntimeError as exc:
        raise exceptions.BadConfiguration(
            f'{option}: there is no {name!r} ({exc})'
        ) from exc


@functools.lru_cache
def _load(namespace: str, name: str) -> Any:
    return driver.DriverManager(namespace, name).driver


def options_of(plugin: Any) -> Sequence[cfg.Opt]:
    """Return the options that the class *plugin* brings."""
    options: Sequence[cfg.Opt] = getattr(plugin, 'OPTIONS', ())
    return options


def group_of(conf: cfg.ConfigOpts, name: str) -> Group:
    """Return the group *name* of a configuration."""

    def register(options: Sequence[cfg.Opt]) -> Any:
        conf.register_opts(options, group=name)
        return conf[name]

    return register


def reader(group: Group) -> Reader:
    """Return what reads more options of *group*."""
    return functools.partial(_read, group)


def defaults(options: Sequence[cfg.Opt]) -> Mapping[str, Any]:
    """Return the defaults of *options*: a reader without a configuration."""
    return {_argument(each): each.default for each in options}


def _read(group: Group, options: Sequence[cfg.Opt]) -> Mapping[str, Any]:
    """Return the values of *options*, registered in *group*.

    :raises BadConfiguration: if a value makes no sense, says of which; or if
        an option's name is taken, or not one of ours
    """
    arguments = {_argument(each): each.dest for each in options}
    with checks.refused():
        found = group(options)
        return {name: getattr(found, dest) for name, dest in arguments.items()}


def _argument(option: cfg.Opt) -> str:
    """Return the name under which a constructor is given the value."""
    if not option.dest.startswith(PREFIX):
        raise exceptions.BadConfiguration(
            f'a plug-in brings the option {option.name}: its name has to '
            f'begin with {PREFIX}'
        )
    return str(option.dest).removeprefix(PREFIX)


def our_own(kind: str) -> list[cfg.Opt]:
    """Return the options of the plug-ins that this package comes with.

    Others list theirs in an entry point ``oslo.config.opts`` of their own.
    """
    plugins = metadata.entry_points(group=f'tmpl_glance_store.{kind}')
    return [
        option
        for plugin in sorted(plugins, key=lambda each: each.name)
        if plugin.value.startswith('tmpl_glance_store.')
        for option in options_of(plugin.load())
    ]
