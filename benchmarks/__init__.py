"""Benchmarks: how fast a training step is, and how much memory a sweep takes."""
