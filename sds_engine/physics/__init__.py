"""The physics of machines and of their faults."""
