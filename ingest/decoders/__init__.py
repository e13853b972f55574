"""Packets to media. Passive: no threads, no files, no printing."""
