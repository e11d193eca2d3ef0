"""Floor 0: standard library only. Errors, files, seeds, the machine, clocks."""
