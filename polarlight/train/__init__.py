"""Floor 5: learning. One loop, its optimizers, its checkpoints, its report."""
