"""Reading and writing weight files: memory-mapped, and never running what is in them."""
