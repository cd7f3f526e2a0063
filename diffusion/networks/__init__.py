"""The UNet and the autoencoder, as modules whose names are the checkpoint's keys."""
