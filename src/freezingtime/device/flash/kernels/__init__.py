"""What an SSD does, compiled; the model calls :mod:`.entry`."""
