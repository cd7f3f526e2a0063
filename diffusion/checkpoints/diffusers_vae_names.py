"""The names diffusers gives the modules of a KL autoencoder, and our canonical ones for them."""

from collections.abc import Iterator, Mapping
from itertools import product

_ENDS: Mapping[str, str] = {"conv_in": "conv_in", "conv_norm_out": "norm_out", "conv_out": "conv_out"}
_QUANT = ("quant_conv", "post_quant_conv")
_RESIDUAL: Mapping[str, str] = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "conv_shortcut": "nin_shortcut",
}
_ATTENTION: Mapping[str, str] = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    "query": "q",
    "key": "k",
    "value": "v",
    "proj_attn": "proj_out",
}
"""The last four are the names of files written before 2023."""


def vae_modules(levels: int, blocks: int) -> dict[str, str]:
    """The canonical name of every weighted module, by its diffusers name.

    blocks: residual blocks per level of the encoder; the decoder has one more. The decoder's levels count from
    the coarsest in diffusers, from the finest here. Residual blocks that keep their width are listed with the
    shortcut they do not have.
    """
    names = {name: name for name in _QUANT}
    for half in ("encoder", "decoder"):
        names |= {f"{half}.{theirs}": f"{half}.{ours}" for theirs, ours in _ENDS.items()}
        names |= {
            f"{half}.mid_block.attentions.0.{theirs}": f"{half}.mid.attn_1.{ours}"
            for theirs, ours in _ATTENTION.items()
        }
    for theirs, ours in _residual_blocks(levels, blocks):
        names |= {f"{theirs}.{leaf}": f"{ours}.{own}" for leaf, own in _RESIDUAL.items()}
    return names | dict(_resamplers(levels))


def _residual_blocks(levels: int, blocks: int) -> Iterator[tuple[str, str]]:
    for half, block in product(("encoder", "decoder"), range(2)):
        yield f"{half}.mid_block.resnets.{block}", f"{half}.mid.block_{block + 1}"
    for level, block in product(range(levels), range(blocks)):
        yield f"encoder.down_blocks.{level}.resnets.{block}", f"encoder.down.{level}.block.{block}"
    for level, block in product(range(levels), range(blocks + 1)):
        yield f"decoder.up_blocks.{level}.resnets.{block}", f"decoder.up.{levels - 1 - level}.block.{block}"


def _resamplers(levels: int) -> Iterator[tuple[str, str]]:
    for level in range(levels - 1):
        yield f"encoder.down_blocks.{level}.downsamplers.0.conv", f"encoder.down.{level}.downsample.conv"
        yield (
            f"decoder.up_blocks.{level}.upsamplers.0.conv",
            f"decoder.up.{levels - 1 - level}.upsample.conv",
        )
