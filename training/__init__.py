"""Makes Weft's own tiny checkpoint and LoRA: draws pictures with captions, trains on them, writes the files."""
