"""The Python interface; ``import freezingtime`` has its names."""
