"""The mathematics of Stable Diffusion 1.x: text encoder, UNet, VAE, samplers, checkpoints, LoRA, memory."""
