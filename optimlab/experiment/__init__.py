"""Experiments: the TOML language, the runs that it asks for, and what decides their numbers."""
