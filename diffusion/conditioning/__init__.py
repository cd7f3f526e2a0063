"""What can be done with encoded prompts before a model reads them."""
