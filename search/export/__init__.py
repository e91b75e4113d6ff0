"""Exports: select a configuration, write its folder, verify it, and predict with it."""
