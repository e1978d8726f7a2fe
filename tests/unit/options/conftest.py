# SPDX-License-Identifier: Apache-2.0
import pytest
from oslo_config import cfg

from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts


@pytest.fixture
def read(tmp_path):
    """Read options through a real configuration file."""

    def read(
        default_cluster=opts.DEFAULT_CLUSTER,
        *,
        locations=('ssd:/srv/ssd0',),
        **options,
    ):
        lines = [f'tmpl_store_locations = {each}' for each in locations]
        lines += [f'tmpl_store_{k} = {v}' for k, v in options.items()]
        path = tmp_path / 'some.conf'
        path.write_text('\n'.join(['[tmpl]', *lines]))
        conf = cfg.ConfigOpts()
        conf.register_opts(opts.STORE_OPTS, 'tmpl')
        conf(['--config-file', str(path)], default_config_dirs=[])
        return opts.read(plugins.group_of(conf, 'tmpl'), default_cluster)

    return read
