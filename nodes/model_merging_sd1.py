"""ModelMergeSD1: a ratio for each block of the UNet.

Its inputs are called by the checkpoint's own names, `input_blocks.0.` and so on, which no Python parameter can be, so
its specification is made of that of another node.
"""

from dataclasses import replace

from diffusion.merging import merged_models, weights_by_prefix
from diffusion.model import Model
from graph.spec import Port, attach, spec_of
from nodes.model_merging import model_merge_blocks

BLOCKS = {
    "time_embed.": "the timestep's layers",
    "label_emb.": "the labels' layers, which Stable Diffusion 1.x does not have",
    **{f"input_blocks.{place}.": f"stage {place} of the way down" for place in range(12)},
    **{f"middle_block.{place}.": f"part {place} of the middle block" for place in range(3)},
    **{f"output_blocks.{place}.": f"stage {place} of the way up" for place in range(12)},
    "out.": "the last layers",
}
"""What each ratio is for, by the beginning of the weights' names."""


def model_merge_sd1(*, model1: Model, model2: Model, **ratios: float) -> Model:
    """Mix two models, by a ratio of its own for each block of the UNet: 1 is the first model alone, 0 the second.

    ratios: by the names in BLOCKS; 1 for those that are left out. A UNet of fewer blocks has no use for the rest.
    """
    return merged_models(model1, model2, weights_by_prefix(model1, ratios, otherwise=1.0))


def _declare() -> None:
    like = spec_of(model_merge_blocks)
    ratio = like.ports["input"]
    inputs: list[Port] = [like.ports["model1"], like.ports["model2"]]
    inputs += [
        replace(ratio, name=name, tooltip=f"For {what}: 1 is the first model alone, 0 the second.")
        for name, what in BLOCKS.items()
    ]
    attach(
        model_merge_sd1,
        replace(
            like,
            name="ModelMergeSD1",
            title="ModelMergeSD1",
            category=f"{like.category}/model_specific",
            function=model_merge_sd1,
            inputs=tuple(inputs),
            description="Mix two models, by a ratio of its own for each block of the UNet.",
            module=__name__,
            where=f"{__file__}:{model_merge_sd1.__code__.co_firstlineno}",
        ),
    )


_declare()
