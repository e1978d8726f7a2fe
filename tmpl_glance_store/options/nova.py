# SPDX-License-Identifier: Apache-2.0
"""Where and how the agent publishes templates in Nova's image cache."""

import dataclasses
import os
import pwd
import re
from typing import Any

from tmpl_glance_store import exceptions
from tmpl_glance_store.options import checks
from tmpl_glance_store.options import nova_conf
from tmpl_glance_store.options import nova_opts

_LINKS = 'hardlink', 'symlink'


@dataclasses.dataclass(frozen=True)
class NovaOptions:
    """Where and how the agent publishes; ``max_virtual_size`` in bytes.

    ``user``, ``group`` and ``hypervisor_user`` are numbers; None: as found.
    ``complete_clones``: Nova copies base files instead of linking to them.
    """

    instances_path: str
    base_directory: str
    publish: str
    complete_clones: bool
    force_raw: bool
    touch_interval: int
    lock_timeout: int
    convert_concurrency: int
    max_virtual_size: int
    user: int | None
    group: int | None
    hypervisor_user: int | None
    mode: int
    keep_original: bool
    fetch_on_boot: bool


def read(conf: Any) -> NovaOptions | None:
    """Return the checked options of publishing; None if it is off.

    :param conf: the option group ``[nova]``
    :raises BadConfiguration: if a value makes no sense
    """
    with checks.refused('[nova] '):
        theirs = nova_conf.read(conf.nova_config_file)
        instances_path = conf.instances_path or theirs.get('instances_path')
        if conf.publish == 'off' or not instances_path:
            return None
        if not os.path.isabs(instances_path):
            raise exceptions.BadConfiguration(
                f'[nova] instances_path: {instances_path!r} is not absolute'
            )
        force_raw = conf.force_raw
        if force_raw is None:
            force_raw = theirs.get('force_raw', True)
        complete = (
            conf.images_type or theirs.get('images_type', 'qcow2')
        ) in nova_opts.COMPLETE
        if complete and conf.publish in _LINKS:
            raise exceptions.BadConfiguration(
                f'[nova] publish = {conf.publish}: where images_type is one '
                f'of {", ".join(nova_opts.COMPLETE)} Nova could not write '
                f'its copies; use auto, reflink or copy'
            )
        return NovaOptions(
            instances_path=instances_path,
            base_directory=os.path.join(
                instances_path,
                _subdirectory(
                    conf.image_cache_subdirectory_name
                    or theirs.get('subdirectory', '_base')
                ),
            ),
            publish=conf.publish,
            complete_clones=complete,
            force_raw=force_raw,
            touch_interval=conf.touch_interval,
            lock_timeout=conf.lock_timeout,
            convert_concurrency=conf.convert_concurrency,
            max_virtual_size=conf.max_virtual_size << 30,
            user=_user('user', conf.user),
            group=checks.group('[nova] group', conf.group),
            hypervisor_user=_user('hypervisor_user', conf.hypervisor_user),
            mode=_readable(conf.mode, 0o644 if complete else 0o444),
            keep_original=conf.keep_original,
            fetch_on_boot=conf.fetch_on_boot,
        )


def _subdirectory(name: str) -> str:
    if os.path.basename(name) != name or name in ('.', '..'):
        raise exceptions.BadConfiguration(
            f'[nova] image_cache_subdirectory_name: {name!r} is not the name '
            f'of a directory'
        )
    return name


def _readable(text: str, least: int) -> int:
    """Return a mode of base files; *least* are the rights that it needs."""
    mode = int(text, 8) if re.fullmatch('0?[0-7]{3}', text) else 0
    if mode & least != least or mode & 0o133:
        raise exceptions.BadConfiguration(
            f'[nova] mode: {text!r} is not an octal mode with which everybody '
            f'can read a base file and only its owner can write, such as '
            f'0644{"" if least & 0o200 else " or 0444"}'
        )
    return mode


def _user(option: str, text: str | None) -> int | None:
    if not text:
        return None
    try:
        return int(text) if text.isdigit() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise exceptions.BadConfiguration(
            f'[nova] {option}: no user {text!r} on this host'
        ) from None
