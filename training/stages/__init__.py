"""The stages of training, each a file: autoencoder, reading (text), latents, unet, decoder."""
