"""Opt-in approximations: each trades a little of the picture for time, and is there only if a node puts it there."""
