# SPDX-License-Identifier: Apache-2.0
"""The catalog as a whole: what changes, and any sequence of calls."""

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.contract.keyvalue import settle
from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import ROOT
from tests.unit.catalog.support import A
from tests.unit.catalog.support import agrees
from tests.unit.catalog.support import image
from tests.unit.catalog.support import template
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import sqlite
from tmpl_glance_store.catalog.contract import Compare


def test_a_watch_tells_of_changes_in_the_cluster(catalog, rival):
    watch = catalog.watch()
    settle(watch)
    rival.bindings.bind(image(), A, 'x')
    assert watch.wait(60)
    watch.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(['bind', 'unbind', 'forget', 'adopt', 'forget copy']),
        st.sampled_from(['one', 'two', 'three']),
        st.sampled_from('ab'),
        st.sampled_from('xy'),
    ),
    max_size=30,
)


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(STEPS)
def test_any_sequence_of_calls_does_what_a_simple_model_does(
    tmp_path_factory, steps
):
    store = sqlite.SQLiteKeyValue(
        f'sqlite:///{tmp_path_factory.mktemp("c")}/c.sqlite'
    )
    catalog = domain.Catalog(store, 'blue', lambda: NOW)
    images, templates, copies = {}, {}, set()
    for verb, image_id, name, place in steps:
        digest = name * 64
        if verb == 'bind' and image_id in images:
            with pytest.raises(exceptions.Duplicate):
                catalog.bindings.bind(
                    image(image_id, name), template(name), place
                )
        elif verb == 'bind':
            catalog.bindings.bind(image(image_id, name), template(name), place)
            images[image_id], templates[digest] = digest, True
            copies.add((digest, place))
        elif verb == 'unbind' and image_id not in images:
            with pytest.raises(exceptions.NotFound):
                catalog.bindings.unbind(image(image_id, name))
        elif verb == 'unbind':
            digest = images.pop(image_id)
            templates[digest] = digest in images.values()
            assert catalog.bindings.unbind(
                catalog.bindings.image(image_id)
            ) is (not templates[digest])
        elif verb == 'forget':
            gone = digest not in templates or not (
                templates[digest] or any(d == digest for d, _ in copies)
            )
            assert catalog.bindings.forget(digest) is gone
            if gone:
                templates.pop(digest, None)
        elif verb == 'adopt':
            catalog.copies.adopt(template(name), place)
            templates.setdefault(digest, True)
            copies.add((digest, place))
        else:
            catalog.copies.forget(digest, place)
            copies.discard((digest, place))
        assert agrees(catalog)
        assert {
            r.template.digest: r.deleted_at is None
            for r in catalog.bindings.templates()
        } == templates
        assert {
            (c.digest, c.location_id)
            for d in 'ab'
            for c in catalog.copies.of(d * 64)
        } == copies
    store.close()


def test_a_commit_whose_answer_was_lost_can_be_undone(catalog):
    """The caller of bind() cannot tell whether it was carried out."""
    store, commit = catalog.records.store, catalog.records.store.commit

    def lose_the_answer(*args):
        store.commit = commit
        commit(*args)
        raise exceptions.Unavailable('timeout')

    store.commit = lose_the_answer
    with pytest.raises(exceptions.Unavailable):
        catalog.bindings.bind(image(), A, 'x')
    assert catalog.bindings.unbind(image())
    assert store.commit([Compare(f'{ROOT}/images/one', 0)], [])
