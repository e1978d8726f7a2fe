# SPDX-License-Identifier: Apache-2.0
"""The release of this package."""

from pbr import version

RELEASE = version.VersionInfo('tmpl-glance-store').release_string()
