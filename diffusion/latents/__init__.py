"""Arithmetic on latents: sizes, places, batches, mixtures. Each function takes latents and returns a new one.

What is said of a latent beside its samples, its noise mask and its batch index, goes along unchanged unless a function
says otherwise.
"""
