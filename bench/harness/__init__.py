"""What every benchmark shares: the peer with equal weights, interleaved timing, and the ledger."""
