"""Floor 2: modules that more than one model is made of."""
