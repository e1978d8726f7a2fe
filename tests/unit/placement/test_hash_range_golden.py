# SPDX-License-Identifier: Apache-2.0
import hashlib
import itertools

from tests.contract.clusters import location
from tmpl_glance_store.placement import hash_range

# The layout of today: to change it moves the data of every operator.

GOLDEN_LOCATIONS = [
    location(f'00000000-0000-4000-8000-00000000000{n}', weight=weight)
    for n, weight in enumerate([100.0, 100.0, 400.0, 931.513])
]

GOLDEN = {
    0x0000000000000000: '320',
    0x123456789ABCDEF0: '302',
    0x3FFFFFFFFFFFFFFF: '320',
    0x4000000000000000: '320',
    0x7777777777777777: '320',
    0x8000000000000000: '320',
    0xA5A5A5A5A5A5A5A5: '310',
    0xCAFEBABEDEADBEEF: '320',
    0xE000000000000000: '320',
    0xFFFFFFFFFFFFFFFF: '320',
}

GOLDEN_BORDERS = (
    'fbbf0df5033355ae228f5b92e75ca9101edbcdcf70fb00f119f58b2f09a8f653'
)


def last_digits(locations):
    return ''.join(each.id[-1] for each in locations)


def test_templates_stay_where_earlier_releases_have_put_them():
    policy = hash_range.HashRange(GOLDEN_LOCATIONS, 3)
    assert {
        position: last_digits(policy.targets(position)) for position in GOLDEN
    } == GOLDEN


def test_all_borders_stay_where_they_were_in_earlier_releases():
    ranges = hash_range.HashRange(GOLDEN_LOCATIONS, 3).ranges()
    borders = [
        f'{next(same)[0]:016x} {owner.id}'
        for owner, same in itertools.groupby(ranges, key=lambda each: each[2])
    ]
    assert hashlib.sha256('\n'.join(borders).encode()).hexdigest() == (
        GOLDEN_BORDERS
    )
