"""Prompts into numbers: tokens, weights, chunks, the text encoder."""
