"""Floor 4: one file = one model: its config, its blocks, its cost, its initialisation."""
