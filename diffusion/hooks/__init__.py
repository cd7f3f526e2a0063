"""Changes of weights that ride on prompts: which, how strongly, and from when in a run."""
