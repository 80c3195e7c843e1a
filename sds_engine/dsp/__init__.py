"""Signal processing: pure functions of arrays and tensors."""
