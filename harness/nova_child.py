# SPDX-License-Identifier: Apache-2.0
"""Nova's own code in a process of its own, told what to do by JSON lines.

Nova's configuration is global, and its import takes seconds: so it does not
run within pytest. Only Glance is replaced, by a file that is copied; each
copy counts as a download.
"""

import json
import os
import shutil
import sys
import threading
import time
import traceback
import types
from concurrent import futures

os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = '1'

import nova.conf
from nova import objects
from nova.privsep import sys_admin_pctxt
from nova.virt import images
from nova.virt.libvirt import imagebackend
from nova.virt.libvirt import imagecache
from nova.virt.libvirt import utils as libvirt_utils

CONF = nova.conf.CONF


class Glance:
    """What Nova asks of Glance."""

    def __init__(self, source: str, disk_format: str) -> None:
        self._source = source
        self._format = disk_format
        self._lock = threading.Lock()
        self.downloads = 0

    def get(self, _context, _image_id):
        """Return the image's record."""
        return {'disk_format': self._format}

    def download(self, _context, _image_id, dest_path, **_kwargs):
        """Download the image."""
        with self._lock:
            self.downloads += 1
        shutil.copyfile(self._source, dest_path)


def configure(instances_path, force_raw=True, **_):
    """Point Nova to a directory of instances."""
    CONF.set_override('instances_path', instances_path)
    CONF.set_override('force_raw_images', force_raw)


def clone(
    image_id,
    names,
    instances_path,
    source='/nonexistent',
    disk_format='qcow2',
    backend='Qcow2',
    size=None,
    **_,
):
    """Make the disks of some instances at once, as a boot does.

    Source: ``_create_and_inject_local_root`` and ``_try_fetch_image_cache``
    in nova/virt/libvirt/driver.py.
    """
    glance = images.IMAGE_API = Glance(source, disk_format)

    def boot(name):
        directory = os.path.join(instances_path, name)
        os.makedirs(directory, exist_ok=True)
        disk = getattr(imagebackend, backend)(
            path=os.path.join(directory, 'disk')
        )
        try:
            disk.cache(
                fetch_func=libvirt_utils.fetch_image,
                context=None,
                filename=imagecache.get_cache_fname(image_id),
                size=size,
                image_id=image_id,
                trusted_certs=None,
            )
        except Exception:
            return traceback.format_exc()

    start = time.monotonic()
    with futures.ThreadPoolExecutor(len(names)) as pool:
        errors = [each for each in pool.map(boot, names) if each]
    return {
        'downloads': glance.downloads,
        'errors': errors,
        'seconds': time.monotonic() - start,
    }


def age(instances=(), maximum=0, **_):
    """Let the cache manager make its pass.

    :param instances: (name, image) of the instances on this host
    :param maximum: seconds after which what is not used goes
    """
    CONF.set_override(
        'remove_unused_original_minimum_age_seconds', maximum, 'image_cache'
    )
    objects.BlockDeviceMappingList.bdms_by_instance_uuid = (
        lambda context, uuids: {}
    )
    imagecache.ImageCacheManager().update(
        None,
        [
            types.SimpleNamespace(
                name=name,
                uuid=name,
                image_ref=image,
                kernel_id='',
                ramdisk_id='',
                host=CONF.host,
                task_state=None,
                vm_state='active',
            )
            for name, image in instances
        ],
    )
    return {}


def main():
    """Serve until the end of the input."""
    objects.register_all()
    CONF([], project='nova', default_config_files=[])
    sys_admin_pctxt.set_client_mode(False)  # no daemon: root already
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what Nova prints is no answer
    print('{}', file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        configure(**request)
        verb = {'clone': clone, 'age': age}[request.pop('verb')]
        print(json.dumps(verb(**request)), file=answers, flush=True)


if __name__ == '__main__':
    main()
