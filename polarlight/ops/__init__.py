"""Floor 1: pure tensor functions. Tensors and numbers in, tensors out; no config, no module, no device choice."""
