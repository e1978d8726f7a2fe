# SPDX-License-Identifier: Apache-2.0
from tmpl_glance_store.options import agent
from tmpl_glance_store.options import listing
from tmpl_glance_store.options import nova_opts
from tmpl_glance_store.options import store as opts


def test_every_option_is_for_the_sample_with_a_help():
    groups = dict(listing.list_opts())
    assert groups == {
        'tmpl': opts.STORE_OPTS + agent.AGENT_OPTS,
        'nova': nova_opts.NOVA_OPTS,
    }
    assert all(
        option.name.startswith('tmpl_store_') for option in groups['tmpl']
    )
    # A first line of its own, then when to change it.
    assert not [
        option.name
        for options in groups.values()
        for option in options
        if len(option.help.strip().partition('\n\n')[2]) < 40
    ]
