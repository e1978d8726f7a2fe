# SPDX-License-Identifier: Apache-2.0
"""What nova.conf says of the image cache of a node."""

from typing import Any

from oslo_config import cfg

# As Nova spells it; see nova/conf/.
_NOVA_DEFAULTS = [
    cfg.StrOpt('state_path', default='/var/lib/nova'),
    cfg.StrOpt('instances_path', default='$state_path/instances'),
    cfg.BoolOpt('force_raw_images', default=True),
    cfg.BoolOpt('use_cow_images', default=True),
]
_NOVA_IMAGE_CACHE = [cfg.StrOpt('subdirectory_name', default='_base')]
_NOVA_LIBVIRT = [cfg.StrOpt('images_type', default='default')]


def read(path: str | None) -> dict[str, Any]:
    """Return what the nova.conf at *path* says; nothing without a path.

    :raises oslo_config.cfg.Error: if it cannot be read
    """
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
