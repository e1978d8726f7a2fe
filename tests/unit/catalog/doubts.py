# SPDX-License-Identifier: Apache-2.0
"""What the tests of the catalog's history ask."""

from collections.abc import Callable

import pytest

from tmpl_glance_store import exceptions
from tmpl_glance_store.catalog import catalog as domain

ACCEPT = 'tmpl-manage catalog accept'

Open = Callable[..., domain.Catalog]


def doubt(catalog: domain.Catalog) -> str:
    """Return why nothing may be removed on the word of *catalog*."""
    reason = catalog.history.check()
    if reason:
        with pytest.raises(exceptions.Unavailable) as caught:
            catalog.history.require()
        assert str(caught.value).startswith(f'{reason}: nothing')
        assert ACCEPT in str(caught.value)
    else:
        catalog.history.require()
    return reason
