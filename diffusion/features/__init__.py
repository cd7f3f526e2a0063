"""Features that attach to places of the UNet and change what it computes there."""
