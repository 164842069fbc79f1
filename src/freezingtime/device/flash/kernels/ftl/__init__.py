"""The flash translation layer: where data lie, garbage collection, wear. Compiled."""
