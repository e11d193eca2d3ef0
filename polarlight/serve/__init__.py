"""Floor 7: the doors. The service's state (accounts, ledger, jobs, files) and what speaks to the outside on top of it."""
