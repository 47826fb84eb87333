"""Experiments: the TOML language, the runs of an experiment, and their identity."""
