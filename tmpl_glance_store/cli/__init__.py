"""The commands of ``tmpl-manage``, one a file."""
