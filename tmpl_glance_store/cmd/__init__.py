"""Process entries."""
