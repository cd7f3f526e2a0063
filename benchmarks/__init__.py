"""Programs that measure Weft and print each figure beside the one to reach."""
