"""Arithmetic on pictures [B, H, W, C] and masks [B, H, W], float32, 0..1: pure functions that know no other folder."""
