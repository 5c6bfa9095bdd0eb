"""Benchmarks of the bridge against its baselines: `python -m benchmarks`."""
