# SPDX-License-Identifier: Apache-2.0
"""The options of publishing, in the group ``[nova]``."""

from oslo_config import cfg

#: How a base file is made from a copy; ``auto`` takes the first that works.
PUBLISH_MODES = ('auto', 'reflink', 'hardlink', 'symlink', 'copy', 'off')

#: What makes Nova copy base files; nova/virt/libvirt/imagebackend.py.
COMPLETE = 'raw', 'flat', 'ploop'

#: Of ``tmpl-agent`` on a compute node.
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
        default='auto',
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
        choices=('default', 'qcow2', *COMPLETE, 'lvm', 'rbd'),
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
