"""What the bridge costs, beside its anchors, on the machine at hand: `python -m benchmarks`."""
