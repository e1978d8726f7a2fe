# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration of the documentation."""

extensions = ['openstackdocstheme', 'oslo_config.sphinxext']

project = 'tmpl-glance-store'
copyright = 'tmpl-glance-store contributors'

html_theme = 'openstackdocs'
openstackdocs_auto_name = False
openstackdocs_pdf_link = False
