# SPDX-License-Identifier: Apache-2.0
"""The catalog as a whole: what changes, and any sequence of calls."""

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.contract.keyvalue import settle
from tests.unit.catalog.support import NOW
from tests.unit.catalog.support import ROOT
from tests.unit.catalog.support import A
from tests.unit.catalog.support import B
from tests.unit.catalog.support import X
from tests.unit.catalog.support import Y
from tests.unit.catalog.support import agrees
from tests.unit.catalog.support import image
from tests.unit.catalog.support import place_all
from tests.unit.catalog.support import places
from tests.unit.catalog.support import template
from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import catalog as domain
from tmpl_glance_store.catalog import sqlite
from tmpl_glance_store.catalog.contract import Compare


def test_a_watch_tells_of_changes_in_the_cluster(catalog, rival):
    watch = catalog.watch()
    settle(watch)
    rival.bindings.bind(image(), A, X)
    assert watch.wait(60)
    watch.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ['bind', 'unbind', 'forget', 'adopt', 'restore', 'forget copy']
        ),
        st.sampled_from(['one', 'two', 'three']),
        st.sampled_from('ab'),
        st.sampled_from([X, Y]),
    ),
    max_size=30,
)


def is_like_the_model(catalog, templates, copies):
    assert agrees(catalog)
    records = catalog.bindings.templates()
    assert {
        r.template.digest: r.deleted_at is None for r in records
    } == templates
    assert {
        (digest, where)
        for digest in (A.digest, B.digest)
        for where in places(catalog, digest)
    } == copies
    assert catalog.snapshot().templates == {
        each.template.digest: each for each in records
    }


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(STEPS)
def test_any_sequence_of_calls_does_what_a_simple_model_does(
    tmp_path_factory, steps
):
    store = sqlite.SQLiteKeyValue(
        f'sqlite:///{tmp_path_factory.mktemp("c")}/c.sqlite'
    )
    catalog = domain.Catalog(store, 'blue', lambda: NOW)
    place_all(catalog)
    # Of images and copies what is there; of templates whether they live.
    images, templates, copies = {}, {}, set()
    for verb, image_id, name, where in steps:
        digest = template(name).digest
        if verb == 'bind' and images.get(image_id, digest) != digest:
            with pytest.raises(exceptions.Duplicate):
                catalog.bindings.bind(
                    image(image_id, name), template(name), where
                )
        elif verb == 'bind':
            catalog.bindings.bind(image(image_id, name), template(name), where)
            images[image_id], templates[digest] = digest, True
            copies.add((digest, where))
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
            catalog.copies.adopt(digest, where)
            copies.add((digest, where))
        elif verb == 'restore':
            catalog.bindings.restore(template(name))
            templates.setdefault(digest, True)
        else:
            catalog.copies.forget(digest, where)
            copies.discard((digest, where))
        is_like_the_model(catalog, templates, copies)
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
        catalog.bindings.bind(image(), A, X)
    assert catalog.bindings.unbind(image())
    assert store.commit([Compare(f'{ROOT}/images/one', 0)], [])
