"""The agent of a node: it keeps, serves, fetches and proves templates."""
