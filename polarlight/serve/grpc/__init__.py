"""The gRPC door: what xAI's own SDK speaks, over the operations that REST uses."""
