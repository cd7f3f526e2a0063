"""Guiders beyond classifier-free guidance with one negative prompt."""
