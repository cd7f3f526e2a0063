"""Nodes that decode and encode pictures tile by tile."""

from typing import Annotated

from diffusion.codec import decode_tiled, encode_tiled
from diffusion.model import Vae
from diffusion.types import Image, Latent
from graph import Range, node

TileSize = Annotated[int, Range(64, 4096, step=32)]
EncodedTileSize = Annotated[int, Range(64, 4096, step=64)]
Overlap = Annotated[int, Range(0, 4096, step=32)]
Frames = Annotated[int, Range(8, 4096, step=4)]
FrameOverlap = Annotated[int, Range(4, 4096, step=4)]


@node("VAEDecodeTiled", title="VAE Decode (Tiled)", category="latent")
def vae_decode_tiled(
    *,
    samples: Latent,
    vae: Vae,
    tile_size: TileSize = 512,
    overlap: Overlap = 64,
    temporal_size: Frames = 64,
    temporal_overlap: FrameOverlap = 8,
) -> Image:
    """Decode latents into pictures tile by tile, in the memory that one tile takes.

    VAEDecode does so by itself when memory is short; this node always does.

    Inputs:
        samples: The latents.
        vae: The autoencoder.
        tile_size: Width and height of a tile in pixels.
        overlap: By how many pixels tiles overlap, to fade into each other; half of a tile at most.
        temporal_size: For videos, which Stable Diffusion 1.x does not make: without effect.
        temporal_overlap: Likewise.

    Outputs:
        IMAGE: Pictures, [B, H, W, 3] float32, 0..1.
    """
    return decode_tiled(vae, samples, tile_size=tile_size, overlap=overlap)


@node("VAEEncodeTiled", title="VAE Encode (Tiled)", category="latent")
def vae_encode_tiled(
    *,
    pixels: Image,
    vae: Vae,
    tile_size: EncodedTileSize = 512,
    overlap: Overlap = 64,
    temporal_size: Frames = 64,
    temporal_overlap: FrameOverlap = 8,
) -> Latent:
    """Encode pictures into latents tile by tile, in the memory that one tile takes.

    Inputs:
        pixels: The pictures. Sizes that are no multiple of 8 are cropped around the centre.
        vae: The autoencoder.
        tile_size: Width and height of a tile in pixels.
        overlap: By how many pixels tiles overlap, to fade into each other; half of a tile at most.
        temporal_size: For videos, which Stable Diffusion 1.x does not make: without effect.
        temporal_overlap: Likewise.

    Outputs:
        LATENT: The mean of the encoder's distribution, [B, 4, H/8, W/8] float32.
    """
    return encode_tiled(vae, pixels, tile_size=tile_size, overlap=overlap)
