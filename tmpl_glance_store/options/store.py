# SPDX-License-Identifier: Apache-2.0
"""The options, and the one function that reads them into a value.

The driver registers them in its backend's group (glance_store does that with
``OPTIONS``), the agent in ``[tmpl]``: the names are the same everywhere.
Nothing is registered at import.
"""

import dataclasses
import grp
import itertools
import os
import pwd
import re
import socket
from typing import Any

from oslo_config import cfg

from tmpl_glance_store import exceptions
from tmpl_glance_store import objects

AUTO = 'auto'
DEFAULT_CLUSTER = 'tmpl'

STORE_OPTS = [
    cfg.StrOpt(
        'tmpl_store_cluster',
        help="""
Name of the cluster whose templates this store serves.

All nodes that share templates have the same name here. It is part of each
image's location URL: changing it later makes existing images unreachable.
Lower-case letters, digits, ``-`` and ``_``. Default: the identifier of the
backend (its name in ``enabled_backends``), so that several tmpl backends in
one Glance keep apart; ``tmpl`` in the single-store configuration.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_node',
        help="""
Name of this node in the catalog.

Set it when the host name may change or is not unique: a location directory
remembers its node and is refused by another one. Default: the host name.
""",
    ),
    cfg.MultiStrOpt(
        'tmpl_store_locations',
        default=[],
        help="""
A directory for templates on a disk of this node, as
``<tier>:<path>[:<weight>]``; give the option once for each disk.

``tier`` is ``ssd``, ``hdd``, ``staging`` (only holds what was just uploaded,
until its targets have it) or ``auto``, which asks the kernel whether the disk
beneath ``path`` rotates, through partitions, device mapper and md. ``weight``
is in GiB and defaults to the size of the file system: a location gets
templates in proportion to it. Example::

    tmpl_store_locations = ssd:/srv/ssd0/tmpl
    tmpl_store_locations = ssd:/srv/ssd1/tmpl:800

There is no default: templates are large, and only you know the right disk.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_catalog',
        default='sqlite:////var/lib/tmpl/catalog.sqlite',
        help="""
URL of the catalog, which knows the templates and the images bound to them.

``sqlite:///<absolute path>`` serves all processes of one machine. Keep the
file on a disk that survives, and back it up: it holds the tokens that make
the location URLs unforgeable.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_placement',
        default=AUTO,
        help="""
Rule that chooses the locations of a template.

``hash_range``: the SSD whose hash range holds the template's hash, and those
that would come next without it, on other nodes. ``all_nodes``: one copy on
every node. The default ``auto`` is ``hash_range`` as soon as the cluster has
one active SSD location, else ``all_nodes``.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_copies',
        default=3,
        min=1,
        help="""
Number of nodes that keep a template under ``hash_range``.

More copies survive more failures and give more nodes a local template; each
costs the template's size. A cluster of fewer nodes keeps one on each.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_min_copies',
        default=1,
        min=1,
        help="""
Number of nodes that must hold a copy on stable storage before an upload
succeeds.

1 is as safe as one disk: the other copies follow. Raise it if an image must
survive the loss of a disk from the moment that it turns active. It cannot
exceed ``tmpl_store_copies``, and a single machine has one node.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_write_timeout',
        default=120,
        min=1,
        help="""
Seconds without any progress of the disk, after which an upload is given up.

A disk that hangs would otherwise hold the upload's thread of glance-api for
ever. Raise it if the disks are known to pause for longer.
""",
    ),
    cfg.FloatOpt(
        'tmpl_store_reserve',
        default=5.0,
        min=0.0,
        max=95.0,
        help="""
Free space, in percent of the file system, that uploads leave untouched in
each location.

File systems slow down and neighbours break when a disk is full to the brim.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_directory_mode',
        default='0750',
        help="""
Mode of the location directories, octal.

The directory protects the templates, not the mode of the files in it: libvirt
changes the owner of a file that a guest uses. The owner needs all rights, and
others should have none.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_group',
        help="""
Group, by name or number, that owns the location directories.

Set it to a group that glance, nova and the hypervisor's user share when
guests are to read the templates in place. Default: the process's own group.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_chunk_size',
        default=1 << 20,
        min=1,
        max=16 << 20,
        help="""
Bytes read from an upload at a time; downloads go in chunks of at most 256
KiB.

There is rarely a reason to change it. Memory in use per upload is bounded
whatever the value.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_tls_ca',
        help="""
PEM file with the certificate of the cluster's own CA.

Nodes prove themselves to each other by certificates of this CA; anyone who
holds one may read templates. Set all three TLS options, or none: without
them nothing listens or connects beyond this machine's loopback addresses.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_tls_certificate',
        help="""
PEM file with this node's certificate, for servers and clients.

Its subject alternative names must have ``tmpl_store_agent_host`` and the DNS
name ``tmpl-agent``. It is read again when it changes.
""",
    ),
    cfg.StrOpt(
        'tmpl_store_tls_key',
        help="""
PEM file with the key of this node's certificate.

Without a passphrase, and readable by nobody but the user of the process.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_read_timeout',
        default=10,
        min=1,
        help="""
Seconds without a byte after which another holder is asked.

Raise it if nodes are so busy that reads fail over for no other reason.
""",
    ),
]

#: Of ``tmpl-agent`` alone.
AGENT_OPTS = [
    cfg.HostAddressOpt(
        'tmpl_store_agent_host',
        default='127.0.0.1',
        help="""
Address of this node at which the other nodes reach its agent.

The default keeps the agent to this machine; any other address needs TLS.
""",
    ),
    cfg.PortOpt(
        'tmpl_store_api_port',
        default=9780,
        help="""
Port of the agent's API: template bytes, status, metrics. 0: any free one.

All nodes may use the same; the catalog tells them of each other's.
""",
    ),
    cfg.PortOpt(
        'tmpl_store_swarm_port',
        default=9781,
        help="""
Port at which the agent takes peers of the swarm. 0: any free one.

All nodes may use the same; the catalog tells them of each other's.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_upload_limit',
        default=0,
        min=0,
        mutable=True,
        help="""
Bytes per second that the agent sends to other nodes at most; 0: no limit.

Reread on SIGHUP, like the other limits.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_download_limit',
        default=0,
        min=0,
        mutable=True,
        help="""
Bytes per second that the agent fetches at most; 0: no limit.

Set it where templates share a link with the VMs' own traffic.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_transfers',
        default=4,
        min=1,
        max=64,
        help="""
Templates that the agent fetches at a time; the others wait.

More finish together, fewer finish the first one sooner.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_lease',
        default=15,
        min=3,
        help="""
Seconds after which a node that does not answer any more counts as away.

Shorter notices a failure sooner, longer rides out a pause of the catalog.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_rebuild_delay',
        default=3600,
        min=0,
        help="""
Seconds that a node may be away before others take over its copies.

Long enough for a reboot or a repair: its copies come back with it.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_interval',
        default=60,
        min=1,
        mutable=True,
        help="""
Seconds between two looks at the disks when nothing else wakes the agent.

Changes in the catalog wake it at once, whatever the interval.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_scrub_rate',
        default=20 << 20,
        min=0,
        mutable=True,
        help="""
Bytes per second that the scrubber reads to prove copies again; 0: never.

It should be able to read a full disk within ``tmpl_store_scrub_period``.
""",
    ),
    cfg.IntOpt(
        'tmpl_store_scrub_period',
        default=7 * 86400,
        min=1,
        mutable=True,
        help="""
Seconds after which a copy is proved again.

A week finds a rotten copy while other nodes still have good ones.
""",
    ),
]

#: How a base file is made from a copy; ``auto`` takes the first that works.
PUBLISH_MODES = ('auto', 'reflink', 'hardlink', 'symlink', 'copy', 'off')

# What makes Nova copy base files; nova/virt/libvirt/imagebackend.py.
_COMPLETE = 'raw', 'flat', 'ploop'
_LINKS = 'hardlink', 'symlink'

#: Of ``tmpl-agent`` on a compute node, in the group ``[nova]``.
NOVA_OPTS = [
    cfg.StrOpt(
        'nova_config_file',
        help="""
Path of this node's nova.conf.

What is not set here is then read from there: ``instances_path``,
``[image_cache] subdirectory_name``, ``force_raw_images`` and ``[libvirt]
images_type``.
""",
    ),
    cfg.StrOpt(
        'instances_path',
        help="""
Nova's directory of instances, as ``instances_path`` in nova.conf.

Templates that this node holds appear in the image cache below it, so that
Nova makes linked clones without a download. Unless this or
``nova_config_file`` is set, nothing is published.
""",
    ),
    cfg.StrOpt(
        'image_cache_subdirectory_name',
        help="""
Nova's directory of base files within ``instances_path``.

It has to be what ``[image_cache] subdirectory_name`` is in nova.conf.
Default: ``_base``, as Nova's.
""",
    ),
    cfg.StrOpt(
        'publish',
        default=AUTO,
        choices=PUBLISH_MODES,
        help="""
How a base file is made from a copy.

``auto``: the first that works of reflink (XFS, btrfs), hard link and symbolic
link; none of them copies a byte. Where Nova copies base files (``images_type``
``raw`` or ``flat``): a reflink, else a copy. A reflink is the best: libvirt
gives base files to the hypervisor's user, and a link shares its owner with the
copy. Put a location and ``instances_path`` on one file system to have it.
``copy`` takes the space a second time. ``off`` publishes nothing.
""",
    ),
    cfg.BoolOpt(
        'force_raw',
        help="""
Whether base files are raw, as ``force_raw_images`` in nova.conf.

A template in another format is then converted once on each node. Default:
True, as Nova's.
""",
    ),
    cfg.StrOpt(
        'images_type',
        choices=('default', 'qcow2', *_COMPLETE, 'lvm', 'rbd'),
        help="""
How Nova makes the disks of instances, as ``[libvirt] images_type`` in
nova.conf.

With ``raw`` and ``flat`` it copies base files, together with their mode, and
writes to the copies: there a base file cannot be a link to a template, which
nobody may write. Default: ``qcow2``, linked clones.
""",
    ),
    cfg.IntOpt(
        'touch_interval',
        default=3600,
        min=1,
        help="""
Seconds between two touches of a base file whose image lives.

Nova removes base files that were not touched for longer than
``[image_cache] remove_unused_original_minimum_age_seconds``, 24 hours by
default: stay well below that.
""",
    ),
    cfg.IntOpt(
        'lock_timeout',
        default=120,
        min=0,
        help="""
Seconds for which boots wait for a template that is on its way to this node.

Meanwhile the agent holds Nova's lock of the base file, so that 50 boots cause
one transfer. When the time is over, or the transfer fails, Nova downloads the
image from Glance as usual. 0: boots never wait.
""",
    ),
    cfg.IntOpt(
        'convert_concurrency',
        default=1,
        min=1,
        max=64,
        help="""
Templates that are converted to raw, or copied, at a time.

Each takes a part of a core and of the disk, at the lowest priority.
""",
    ),
    cfg.IntOpt(
        'max_virtual_size',
        default=16384,
        min=1,
        help="""
Size in GiB of the largest disk that a template may describe.

A header can ask for any size. Larger ones are left to Nova.
""",
    ),
    cfg.StrOpt(
        'user',
        help="""
User, by name or number, that nova-compute runs as.

It owns the base and lock files that the agent makes, as far as the agent may
give them away. Default: the owner of ``instances_path``.
""",
    ),
    cfg.StrOpt(
        'group',
        help="""
Group, by name or number, that nova-compute runs in.

The agent's user has to be in it: they share lock files. Default: the first
group of that user, or that of ``instances_path`` if this host does not know
the user.
""",
    ),
    cfg.StrOpt(
        'hypervisor_user',
        help="""
User, by name or number, that guests run as.

Before a template is published by a link, the agent makes sure that this user
can reach it. Default: ``libvirt-qemu`` or ``qemu``, whichever this node has.
""",
    ),
    cfg.StrOpt(
        'mode',
        default='0644',
        help="""
Mode of reflinks and copies, octal.

Everybody must be able to read them: libvirt changes the owner of a base file
for good, and the next reader has no other right. Links keep the mode of the
copy, 0444.
""",
    ),
    cfg.BoolOpt(
        'keep_original',
        default=True,
        help="""
Whether a template stays as it was uploaded where only its raw conversion is
used.

If not, a copy that the placement does not ask for goes as soon as all its base
files on this node are conversions. One that it does ask for always stays.
""",
    ),
    cfg.BoolOpt(
        'fetch_on_boot',
        default=False,
        help="""
Whether a template that Nova begins to download is brought to this node, too.

It is a cache in one of this node's locations: what needs the template next
finds it here. It goes when space is short.
""",
    ),
]

#: What is read from nova.conf, as Nova spells it; see nova/conf/.
_NOVA_DEFAULTS = [
    cfg.StrOpt('state_path', default='/var/lib/nova'),
    cfg.StrOpt('instances_path', default='$state_path/instances'),
    cfg.BoolOpt('force_raw_images', default=True),
    cfg.BoolOpt('use_cow_images', default=True),
]
_NOVA_IMAGE_CACHE = [cfg.StrOpt('subdirectory_name', default='_base')]
_NOVA_LIBVIRT = [cfg.StrOpt('images_type', default='default')]


@dataclasses.dataclass(frozen=True)
class LocationSpec:
    """One value of ``tmpl_store_locations``; ``weight`` in GiB or None."""

    tier: str
    path: str
    weight: float | None

    @classmethod
    def parse(cls, text: str) -> 'LocationSpec':
        """Return the location that *text* describes.

        :raises BadConfiguration: if it is not ``<tier>:<path>[:<weight>]``
        """
        match = re.fullmatch(
            r'\s*(\w+):(/[^:]*?)(?::([0-9]+(?:\.[0-9]+)?))?\s*', text
        )
        if not match:
            raise exceptions.BadConfiguration(
                f'tmpl_store_locations: {text!r} is not <tier>:<absolute '
                f'path>[:<weight in GiB>], for example ssd:/srv/ssd0/tmpl'
            )
        tier, path, weight = match.groups()
        if tier not in (AUTO, *objects.TIERS):
            raise exceptions.BadConfiguration(
                f'tmpl_store_locations: unknown tier {tier!r} in {text!r}; '
                f'use auto, ssd, hdd or staging'
            )
        if weight is not None and float(weight) <= 0:
            raise exceptions.BadConfiguration(
                f'tmpl_store_locations: the weight in {text!r} must be '
                f'greater than 0'
            )
        return cls(
            tier,
            os.path.normpath(path),
            None if weight is None else float(weight),
        )


@dataclasses.dataclass(frozen=True)
class Options:
    """All options of one store, checked; see the option helps for units."""

    cluster: str
    node: str
    locations: tuple[LocationSpec, ...]
    catalog: str
    placement: str
    copies: int
    min_copies: int
    write_timeout: int
    reserve: float
    directory_mode: int
    group: int | None
    chunk_size: int
    tls_ca: str | None
    tls_certificate: str | None
    tls_key: str | None
    read_timeout: int


@dataclasses.dataclass(frozen=True)
class AgentOptions:
    """What the agent needs on top of :class:`Options`."""

    host: str
    api_port: int
    swarm_port: int
    upload_limit: int
    download_limit: int
    transfers: int
    lease: int
    rebuild_delay: int
    interval: int
    scrub_rate: int
    scrub_period: int


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


def read(conf: Any, default_cluster: str = DEFAULT_CLUSTER) -> Options:
    """Return the checked options of the option group *conf*.

    :param conf: an object with one attribute an option
    :param default_cluster: the cluster's name unless the option is set
    :raises BadConfiguration: if a value makes no sense; says which and why
    """
    try:
        return Options(
            cluster=_name(
                'tmpl_store_cluster',
                objects.CLUSTER,
                conf.tmpl_store_cluster or default_cluster,
            ),
            node=_name(
                'tmpl_store_node',
                objects.NODE,
                conf.tmpl_store_node or socket.gethostname(),
            ),
            locations=_locations(conf.tmpl_store_locations or ()),
            catalog=conf.tmpl_store_catalog,
            placement=conf.tmpl_store_placement,
            copies=conf.tmpl_store_copies,
            min_copies=_min_copies(conf),
            write_timeout=conf.tmpl_store_write_timeout,
            reserve=conf.tmpl_store_reserve,
            directory_mode=_mode(conf.tmpl_store_directory_mode),
            group=_group(conf.tmpl_store_group),
            chunk_size=conf.tmpl_store_chunk_size,
            tls_ca=conf.tmpl_store_tls_ca,
            tls_certificate=conf.tmpl_store_tls_certificate,
            tls_key=conf.tmpl_store_tls_key,
            read_timeout=conf.tmpl_store_read_timeout,
        )
    except (cfg.ConfigFileValueError, ValueError) as exc:
        raise exceptions.BadConfiguration(str(exc)) from exc


def read_agent(conf: Any) -> AgentOptions:
    """Return the checked options of the agent in the group *conf*.

    :raises BadConfiguration: if a value makes no sense
    """
    names = {'host': 'agent_host'}
    try:
        return AgentOptions(
            **{
                field.name: getattr(
                    conf, f'tmpl_store_{names.get(field.name, field.name)}'
                )
                for field in dataclasses.fields(AgentOptions)
            }
        )
    except (cfg.ConfigFileValueError, ValueError) as exc:
        raise exceptions.BadConfiguration(str(exc)) from exc


def read_nova(conf: Any) -> NovaOptions | None:
    """Return the checked options of publishing; None if it is off.

    :param conf: the option group ``[nova]``
    :raises BadConfiguration: if a value makes no sense
    """
    try:
        theirs = _read_nova_conf(conf.nova_config_file)
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
        ) in _COMPLETE
        if complete and conf.publish in _LINKS:
            raise exceptions.BadConfiguration(
                f'[nova] publish = {conf.publish}: where images_type is one '
                f'of {", ".join(_COMPLETE)} Nova could not write its copies; '
                f'use auto, reflink or copy'
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
            group=_group(conf.group, '[nova] group'),
            hypervisor_user=_user('hypervisor_user', conf.hypervisor_user),
            mode=_readable(conf.mode, 0o644 if complete else 0o444),
            keep_original=conf.keep_original,
            fetch_on_boot=conf.fetch_on_boot,
        )
    except (cfg.Error, ValueError) as exc:
        raise exceptions.BadConfiguration(f'[nova] {exc}') from exc


def _read_nova_conf(path: str | None) -> dict[str, Any]:
    """Return what nova.conf says of its image cache; nothing without it."""
    if not path:
        return {}
    conf = cfg.ConfigOpts()
    conf.register_opts(_NOVA_DEFAULTS)
    conf.register_opts(_NOVA_IMAGE_CACHE, group='image_cache')
    conf.register_opts(_NOVA_LIBVIRT, group='libvirt')
    conf(
        [], project='nova', default_config_files=[path], default_config_dirs=[]
    )
    images_type = conf.libvirt.images_type
    if images_type == 'default':
        images_type = 'qcow2' if conf.use_cow_images else 'flat'
    return {
        'instances_path': conf.instances_path,
        'force_raw': conf.force_raw_images,
        'images_type': images_type,
        'subdirectory': conf.image_cache.subdirectory_name,
    }


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


def _name(option: str, pattern: re.Pattern[str], value: str) -> str:
    value = value.lower()
    if not pattern.fullmatch(value):
        raise exceptions.BadConfiguration(
            f'{option}: {value!r} must match {pattern.pattern}'
        )
    return value


def _locations(texts: Any) -> tuple[LocationSpec, ...]:
    specs = tuple(LocationSpec.parse(text) for text in texts)
    if not specs:
        raise exceptions.BadConfiguration(
            'tmpl_store_locations is not set: name at least one directory, '
            'for example ssd:/srv/ssd0/tmpl'
        )
    real = sorted((os.path.realpath(spec.path), spec.path) for spec in specs)
    for (outer, first), (inner, second) in itertools.combinations(real, 2):
        if os.path.commonpath((outer, inner)) == outer:
            raise exceptions.BadConfiguration(
                f'tmpl_store_locations: {first} and {second} are the same '
                f'directory, or one within the other; give each disk once'
            )
    return specs


def _min_copies(conf: Any) -> int:
    if conf.tmpl_store_min_copies > conf.tmpl_store_copies:
        raise exceptions.BadConfiguration(
            f'tmpl_store_min_copies ({conf.tmpl_store_min_copies}) exceeds '
            f'tmpl_store_copies ({conf.tmpl_store_copies})'
        )
    return conf.tmpl_store_min_copies


def _mode(text: str) -> int:
    if not re.fullmatch(r'0?[0-7]{3,4}', text):
        raise exceptions.BadConfiguration(
            f'tmpl_store_directory_mode: {text!r} is not an octal mode such '
            f'as 0750'
        )
    mode = int(text, 8)
    if mode & 0o700 != 0o700:
        raise exceptions.BadConfiguration(
            f'tmpl_store_directory_mode: {text} locks the store itself out; '
            f'the owner needs all rights (07xx)'
        )
    return mode


def _group(text: str | None, option: str = 'tmpl_store_group') -> int | None:
    if not text:
        return None
    try:
        return int(text) if text.isdigit() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise exceptions.BadConfiguration(
            f'{option}: no group {text!r} on this host'
        ) from None


def list_store_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of a Glance backend, for oslo-config-generator."""
    return [('tmpl', STORE_OPTS)]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return all options, those of an agent, for oslo-config-generator."""
    return [('tmpl', STORE_OPTS + AGENT_OPTS), ('nova', NOVA_OPTS)]
