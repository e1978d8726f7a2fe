# SPDX-License-Identifier: Apache-2.0
"""The policy is built when it has to be, and only then."""

from tests.unit.agent.planning import location
from tmpl_glance_store.placement import latest


def test_a_policy_is_built_anew_only_for_other_locations():
    built = []

    def make(locations):
        built.append(list(locations))
        return object()

    policy = latest.Latest(make)
    one, two = [location('n1/a')], [location('n1/a'), location('n2/b')]
    first = policy(one)
    assert policy(list(one)) is first
    second = policy(two)
    assert second is not first
    assert policy(two) is second
    assert built == [one, two]
