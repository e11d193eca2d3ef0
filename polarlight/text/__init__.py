"""Floor 3: words."""
