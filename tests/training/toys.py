"""A recipe whose every stage runs in a moment: tiny networks, a few steps."""

from dataclasses import replace

from diffusion.config import TextConfig, UNetConfig, VAEConfig
from training.loop import Plan
from training.networks import Sizes
from training.recipe import STANDARD
from training.stages.unet import NoiseSettings

TOY_SIZES = Sizes(
    unet=UNetConfig(channels=(8, 8, 8, 8), blocks=1, context_dim=16, num_heads=2, norm_groups=4),
    vae=VAEConfig(channels=(8, 8, 8, 8), blocks=1, norm_groups=4),
    text=TextConfig(width=16, layers=2, num_heads=2, hidden=32),
)
TOY = replace(
    STANDARD,
    autoencoder=Plan(steps=3, warmup=2),
    reading=Plan(steps=4, warmup=2),
    unet=Plan(steps=4, warmup=2),
    decoder=Plan(steps=2, warmup=2),
    pictures=12,
    captions=40,
    sizes=TOY_SIZES,
    noise=NoiseSettings(captions=2, draws=2),
    crops=2,
    readings=3,
    decodings=1,
)
