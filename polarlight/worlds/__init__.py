"""Scene worlds whose truth is known exactly."""
