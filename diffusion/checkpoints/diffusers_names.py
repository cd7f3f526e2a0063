"""The names diffusers gives the modules of a Stable Diffusion 1.x UNet, and our canonical ones for them."""

from collections.abc import Iterator, Mapping
from itertools import product

from diffusion.config import UNetConfig

_RESIDUAL: Mapping[str, str] = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

_ENDS: Mapping[str, str] = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}

_ATTENTION = (
    "norm",
    "proj_in",
    "proj_out",
    *(f"transformer_blocks.0.norm{i}" for i in (1, 2, 3)),
    *(
        f"transformer_blocks.0.{attention}.{projection}"
        for attention, projection in product(("attn1", "attn2"), ("to_q", "to_k", "to_v", "to_out.0"))
    ),
    "transformer_blocks.0.ff.net.0.proj",
    "transformer_blocks.0.ff.net.2",
)


def unet_modules(config: UNetConfig) -> dict[str, str]:
    """The canonical name of every weighted module, by its diffusers name: `conv_in` -> `input_blocks.0.0`.

    A module's parameters (`.weight`, `.bias`) are called the same in both. Residual blocks that keep their
    width are listed with the shortcut they do not have.
    """
    names = dict(_ENDS)
    for theirs, ours in _residual_blocks(config):
        names |= {f"{theirs}.{leaf}": f"{ours}.{own}" for leaf, own in _RESIDUAL.items()}
    for theirs, ours in _attention_blocks(config):
        names |= {f"{theirs}.{leaf}": f"{ours}.{leaf}" for leaf in _ATTENTION}
    return names | dict(_resamplers(config))


def _levels(config: UNetConfig) -> range:
    return range(len(config.channels))


def _down_index(config: UNetConfig, level: int, block: int) -> int:
    """A block's number in the original on the way down: conv_in is 0, each level ends in a downsampler."""
    return 1 + level * (config.blocks + 1) + block


def _up_index(config: UNetConfig, level: int, block: int) -> int:
    """A block's number on the way up, levels from the bottom; the upsampler is in the last block."""
    return level * (config.blocks + 1) + block


def _residual_blocks(config: UNetConfig) -> Iterator[tuple[str, str]]:
    for level, block in product(_levels(config), range(config.blocks)):
        yield f"down_blocks.{level}.resnets.{block}", f"input_blocks.{_down_index(config, level, block)}.0"
    yield "mid_block.resnets.0", "middle_block.0"
    yield "mid_block.resnets.1", "middle_block.2"
    for level, block in product(_levels(config), range(config.blocks + 1)):
        yield f"up_blocks.{level}.resnets.{block}", f"output_blocks.{_up_index(config, level, block)}.0"


def _attention_blocks(config: UNetConfig) -> Iterator[tuple[str, str]]:
    for level, block in product(_levels(config), range(config.blocks)):
        if config.attention[level]:
            yield (
                f"down_blocks.{level}.attentions.{block}",
                f"input_blocks.{_down_index(config, level, block)}.1",
            )
    yield "mid_block.attentions.0", "middle_block.1"
    for level, block in product(_levels(config), range(config.blocks + 1)):
        if config.attention[-1 - level]:
            yield (
                f"up_blocks.{level}.attentions.{block}",
                f"output_blocks.{_up_index(config, level, block)}.1",
            )


def _resamplers(config: UNetConfig) -> Iterator[tuple[str, str]]:
    for level in _levels(config)[:-1]:
        down = _down_index(config, level, config.blocks)
        yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{down}.0.op"
        up = _up_index(config, level, config.blocks)
        behind = 2 if config.attention[-1 - level] else 1
        yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{up}.{behind}.conv"
