"""Crash-safe copies of templates in this host's locations."""
