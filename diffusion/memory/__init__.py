"""What memory there is, what networks take of it, and how they do with less."""
