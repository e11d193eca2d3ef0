"""Polarlight: an open, self-hosted system for making pictures, video and playable worlds."""

__version__ = "0.1.0"
