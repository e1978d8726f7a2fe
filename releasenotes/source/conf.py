# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration of the release notes."""

extensions = ['openstackdocstheme', 'reno.sphinxext']

project = 'tmpl-glance-store release notes'
copyright = 'tmpl-glance-store contributors'

html_theme = 'openstackdocs'
openstackdocs_auto_name = False
