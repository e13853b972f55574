"""Containers: which tracks a recording has, and its packets or messages in time order."""
