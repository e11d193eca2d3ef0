"""Floor 5: running. Samplers, caches, and the generators that commands and servers call."""
