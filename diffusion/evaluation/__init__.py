"""How good pictures are, as numbers: how well they follow their prompts, and how far they are from real ones."""
