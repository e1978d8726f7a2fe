# SPDX-License-Identifier: Apache-2.0
"""Suites that every implementation of a contract must pass."""

import pytest

pytest.register_assert_rewrite('tests.contract.keyvalue')
pytest.register_assert_rewrite('tests.contract.policy')
pytest.register_assert_rewrite('tests.contract.remote')
pytest.register_assert_rewrite('tests.contract.swarm')
