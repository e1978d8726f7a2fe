# SPDX-License-Identifier: Apache-2.0
"""The key-value contract on etcd."""
