"""Every picture and mask node: what it does, that its inputs reach the arithmetic, and what it says of bad input."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from diffusion.types import Image, Mask
from graph import Executor, Folders, Workflow
from imaging import (
    blend,
    canvas,
    colour_match,
    composite,
    edges,
    filters,
    masks,
    porter_duff,
    quantize,
    scale,
)
from nodes import (
    REGISTRY,
    image_batch,
    image_composite,
    image_filter,
    image_scale,
    image_transform,
    mask,
)

MODULES = (image_batch, image_composite, image_filter, image_scale, image_transform, mask)
NODES = {
    name: spec
    for name, spec in REGISTRY.items()
    if spec.module in [module.__name__ for module in MODULES] and name != "MaskPreview"
}
generator = torch.Generator().manual_seed(0)
PICTURE = torch.rand(2, 24, 36, 3, generator=generator)
OTHER = torch.rand(2, 20, 30, 3, generator=generator)
ALPHA = torch.cat((PICTURE, torch.rand(2, 24, 36, 1, generator=generator)), dim=-1)
MASK = torch.rand(2, 24, 36, generator=generator)
SMALL = torch.rand(2, 6, 9, generator=generator)


def call(name: str, **inputs: Any) -> Any:
    return REGISTRY[name].function(**inputs)


# Each node with inputs that all differ from its defaults, and what comes out.
CASES: Mapping[str, tuple[dict[str, Any], Any]] = {
    "EmptyImage": (
        {"width": 5, "height": 3, "batch_size": 2, "color": 0xFF3300},
        torch.tensor([1, 0.2, 0]).expand(2, 3, 5, 3),
    ),
    "GetImageSize": ({"image": PICTURE}, (36, 24, 2)),
    "ImageBatch": (
        {"image1": PICTURE, "image2": OTHER},
        torch.cat((PICTURE, scale.resize(OTHER, 36, 24, "bilinear", "center"))),
    ),
    "RepeatImageBatch": ({"image": PICTURE, "amount": 2}, torch.cat((PICTURE, PICTURE))),
    "ImageFromBatch": ({"image": PICTURE, "batch_index": 1, "length": 5}, PICTURE[1:]),
    "ImageScale": (
        {"image": PICTURE, "upscale_method": "bicubic", "width": 50, "height": 50, "crop": "center"},
        scale.resize(PICTURE, 50, 50, "bicubic", "center"),
    ),
    "ImageScaleBy": (
        {"image": PICTURE, "upscale_method": "area", "scale_by": 0.5},
        scale.resize(PICTURE, 18, 12, "area"),
    ),
    "ImageScaleToTotalPixels": (
        {"image": PICTURE, "upscale_method": "bilinear", "megapixels": 0.01},
        scale.resize(PICTURE, 125, 84, "bilinear"),
    ),
    "ImageScaleToMaxDimension": (
        {"image": PICTURE, "upscale_method": "lanczos", "largest_size": 18},
        scale.resize(PICTURE, 18, 12, "lanczos"),
    ),
    "ResizeAndPadImage": (
        {
            "image": PICTURE,
            "target_width": 30,
            "target_height": 40,
            "padding_color": "black",
            "interpolation": "bilinear",
        },
        canvas.resize_and_pad(PICTURE, 30, 40, "bilinear", 0.0),
    ),
    "ImageCrop": ({"image": PICTURE, "width": 8, "height": 6, "x": 3, "y": 2}, PICTURE[:, 2:8, 3:11]),
    "ImagePadForOutpaint": (
        {"image": PICTURE, "left": 8, "top": 16, "right": 24, "bottom": 32, "feathering": 5},
        canvas.pad_for_outpainting(PICTURE, 8, 16, 24, 32, 5),
    ),
    "ImageFlip": ({"image": PICTURE, "flip_method": "y-axis: horizontally"}, PICTURE.flip(2)),
    "ImageRotate": ({"image": PICTURE, "rotation": "90 degrees"}, PICTURE.transpose(1, 2).flip(2)),
    "ImageStitch": (
        {
            "image1": PICTURE,
            "image2": OTHER,
            "direction": "down",
            "match_image_size": False,
            "spacing_width": 4,
            "spacing_color": "green",
        },
        canvas.stitch(PICTURE, OTHER, "down", match_size=False, spacing=4, color="green"),
    ),
    "ImageGrid": (
        {"images": [PICTURE, PICTURE], "columns": 3, "rows": 2, "padding": 1, "color": 0xFFFFFF},
        canvas.make_grid([PICTURE, PICTURE], columns=3, rows=2, padding=1, color=0xFFFFFF),
    ),
    "ImageInvert": ({"image": PICTURE}, 1 - PICTURE),
    "ImageBlur": (
        {"image": PICTURE, "blur_radius": 3, "sigma": 0.7},
        filters.gaussian_blur(PICTURE, 3, 0.7),
    ),
    "ImageSharpen": (
        {"image": PICTURE, "sharpen_radius": 3, "sigma": 0.7, "alpha": 0.1},
        filters.sharpen(PICTURE, 3, 0.7, 0.1),
    ),
    "ImageQuantize": (
        {"image": PICTURE, "colors": 5, "dither": "bayer-4"},
        quantize.quantize(PICTURE, 5, "bayer-4"),
    ),
    "ImageAddNoise": ({"image": PICTURE, "seed": 9, "strength": 0.1}, filters.add_noise(PICTURE, 9, 0.1)),
    "Canny": (
        {"image": PICTURE, "low_threshold": 0.1, "high_threshold": 0.3},
        edges.canny(PICTURE, 0.1, 0.3)[..., None].expand(-1, -1, -1, 3),
    ),
    "ImageColorMatch": (
        {"image": PICTURE, "reference": OTHER, "method": "histogram", "strength": 0.5},
        colour_match.match_colours(PICTURE, OTHER, "histogram", 0.5),
    ),
    "ImageCompositeMasked": (
        {"destination": PICTURE, "source": OTHER, "x": 4, "y": 6, "resize_source": True, "mask": SMALL},
        composite.paste(PICTURE, OTHER, 4, 6, SMALL, fit=True),
    ),
    "ImageBlend": (
        {"image1": PICTURE, "image2": OTHER, "blend_factor": 0.3, "blend_mode": "screen"},
        blend.blend(PICTURE, OTHER, 0.3, "screen"),
    ),
    "PorterDuffImageComposite": (
        {
            "source": OTHER,
            "source_alpha": SMALL,
            "destination": PICTURE,
            "destination_alpha": MASK,
            "mode": "XOR",
        },
        porter_duff.compose(OTHER, SMALL, PICTURE, MASK, "XOR"),
    ),
    "SplitImageWithAlpha": ({"image": ALPHA}, (PICTURE, 1 - ALPHA[..., 3])),
    "JoinImageWithAlpha": (
        {"image": OTHER, "alpha": SMALL},
        torch.cat((OTHER, 1 - scale.resize_mask(SMALL, 30, 20)[..., None]), dim=-1),
    ),
    "SolidMask": ({"value": 0.3, "width": 5, "height": 4}, torch.full((1, 4, 5), 0.3)),
    "InvertMask": ({"mask": MASK}, 1 - MASK),
    "CropMask": ({"mask": MASK, "x": 3, "y": 2, "width": 8, "height": 6}, MASK[:, 2:8, 3:11]),
    "MaskComposite": (
        {"destination": MASK, "source": SMALL, "x": 3, "y": 2, "operation": "xor"},
        masks.combine(MASK, SMALL, 3, 2, "xor"),
    ),
    "FeatherMask": (
        {"mask": MASK, "left": 2, "top": 3, "right": 4, "bottom": 5},
        masks.feather(MASK, 2, 3, 4, 5),
    ),
    "GrowMask": (
        {"mask": MASK, "expand": -2, "tapered_corners": False},
        masks.grow(MASK, -2, tapered_corners=False),
    ),
    "ThresholdMask": ({"mask": MASK, "value": 0.7}, (MASK > 0.7).float()),
    "ImageToMask": ({"image": ALPHA, "channel": "alpha"}, ALPHA[..., 3]),
    "ImageColorToMask": (
        {"image": PICTURE.round(), "color": 0xFF00FF},
        (PICTURE.round() == torch.tensor([1.0, 0.0, 1.0])).all(-1).float(),
    ),
    "MaskToImage": ({"mask": MASK}, MASK[..., None].expand(-1, -1, -1, 3)),
}


def test_every_node_has_its_case() -> None:
    assert set(CASES) == set(NODES) - {"RebatchImages"}


@pytest.mark.parametrize("name", CASES)
def test_a_node_gives_what_its_inputs_ask_for(name: str) -> None:
    inputs, expected = CASES[name]
    before = {key: value.clone() for key, value in inputs.items() if isinstance(value, torch.Tensor)}
    result = call(name, **inputs)
    for found, wanted in zip(
        result if isinstance(result, tuple) else (result,),
        expected if isinstance(expected, tuple) else (expected,),
        strict=True,
    ):
        if isinstance(wanted, torch.Tensor):
            assert found.dtype == torch.float32
            assert torch.allclose(found, wanted.float(), atol=1e-6)
        else:
            assert found == wanted
    assert all(torch.equal(inputs[key], value) for key, value in before.items()), (
        "inputs are shared: hands off"
    )


def test_rebatching_cuts_and_joins() -> None:
    batches = call("RebatchImages", images=[PICTURE, PICTURE[:1]], batch_size=2)
    assert [len(batch) for batch in batches] == [2, 1]
    assert torch.equal(torch.cat(batches), torch.cat((PICTURE, PICTURE[:1])))
    assert len(call("RebatchImages", images=[PICTURE, OTHER], batch_size=1)) == 4
    with pytest.raises(ValueError, match="do not fit into one batch"):
        call("RebatchImages", images=[PICTURE[:1], OTHER], batch_size=2)


def test_a_picture_with_nothing_to_do_comes_out_as_it_is() -> None:
    assert call("ImageScale", image=PICTURE, width=0, height=0) is PICTURE
    assert call("ImageStitch", image1=PICTURE) is PICTURE
    assert torch.equal(call("ImageRotate", image=PICTURE), PICTURE)


def good(socket: str) -> torch.Tensor:
    return torch.rand(1, 16, 16, 3) if socket == "IMAGE" else torch.rand(1, 16, 16)


BAD = {
    "no batch": {"IMAGE": torch.zeros(0, 16, 16, 3), "MASK": torch.zeros(0, 16, 16)},
    "no pixels": {"IMAGE": torch.zeros(1, 0, 16, 3), "MASK": torch.zeros(1, 16, 0)},
    "dimensions": {"IMAGE": torch.zeros(16, 16, 3), "MASK": torch.zeros(16)},
    "channels": {"IMAGE": torch.zeros(1, 16, 16, 2), "MASK": torch.zeros(1, 2, 16, 16)},
    "NaN": {"IMAGE": torch.full((1, 16, 16, 3), torch.nan), "MASK": torch.full((1, 16, 16), torch.nan)},
}
SOCKETS = [
    (name, port.name)
    for name, spec in NODES.items()
    for port in spec.inputs
    if port.socket in ("IMAGE", "MASK")
]


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize(("name", "bad"), SOCKETS)
def test_bad_input_is_named_at_every_socket(name: str, bad: str, fault: str) -> None:
    inputs = {}
    for port in NODES[name].inputs:
        if port.socket in ("IMAGE", "MASK"):
            value = BAD[fault][port.socket] if port.name == bad else good(port.socket)
            inputs[port.name] = [value] if port.is_list else value
    with pytest.raises(ValueError, match=rf"^{bad} (has|holds)"):
        call(name, **inputs)


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("ImageScaleBy", {"image": PICTURE[:, :1, :1], "scale_by": 0.1}, "nothing would be left"),
        ("ImageScaleToMaxDimension", {"image": PICTURE, "largest_size": 0}, "nothing would be left"),
        (
            "ImageScaleBy",
            {"image": torch.zeros(1, 1, 1, 3).expand(1, 9000, 9000, 3), "scale_by": 8.0},
            "16384 at most",
        ),
        ("EmptyImage", {"width": 16384, "height": 16384, "batch_size": 4096}, "meant to fit the memory"),
        ("RepeatImageBatch", {"image": torch.zeros(1, 512, 512, 3), "amount": 4096}, "smaller amount"),
        ("ImagePadForOutpaint", {"image": PICTURE, "left": 16384}, "Add fewer pixels"),
        ("CropMask", {"mask": MASK, "x": 36}, "nothing is left of a mask of 36x24"),
        ("ImageCompositeMasked", {"destination": PICTURE, "source": OTHER, "y": 24}, "outside"),
        ("MaskComposite", {"destination": MASK, "source": SMALL, "x": 36}, "outside"),
        ("ImageToMask", {"image": PICTURE, "channel": "alpha"}, "there is no alpha"),
        ("ImageQuantize", {"image": ALPHA}, "SplitImageWithAlpha"),
        ("ImageColorMatch", {"image": ALPHA, "reference": PICTURE}, "SplitImageWithAlpha"),
        ("ImageBlur", {"image": PICTURE, "blur_radius": 24}, "Use a radius below 24"),
        ("Canny", {"image": PICTURE, "low_threshold": 0.9, "high_threshold": 0.1}, "Swap them"),
        ("ImageGrid", {"images": [PICTURE, OTHER]}, "Scale them with ImageScale"),
        ("ImageGrid", {"images": []}, "empty list"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_remedy(name: str, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(name, **inputs)


def test_grey_pictures_and_alpha_go_through() -> None:
    grey = Image(PICTURE[..., :1])
    assert call("ImageScale", image=grey, upscale_method="lanczos", width=5, height=5).shape == (2, 5, 5, 1)
    assert call("ImageBatch", image1=PICTURE, image2=ALPHA).shape == (4, 24, 36, 4)
    assert torch.equal(call("ImageCompositeMasked", destination=PICTURE, source=ALPHA), PICTURE)
    assert torch.equal(call("ImageToMask", image=grey, channel="blue"), PICTURE[..., 0])


def test_a_run_names_the_node_that_refused() -> None:
    workflow = Workflow.from_json(
        {
            "1": {
                "class_type": "EmptyImage",
                "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
            },
            "2": {
                "class_type": "ImageBlur",
                "inputs": {"image": ["1", 0], "blur_radius": 20, "sigma": 1.0},
                "_meta": {"title": "Soften"},
            },
            "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
        }
    )
    (error,) = Executor(REGISTRY, folders=Folders(models=())).run(workflow).errors
    assert (error.node, error.class_type) == ("2", "ImageBlur")
    assert "A radius of 20 does not fit" in error.message


def test_masks_are_shown_as_pictures(tmp_path: Any) -> None:
    from graph import Context

    shown = mask.mask_preview(mask=Mask(MASK), ctx=Context(folders=Folders(models=(), temp=tmp_path))).ui
    assert [image["type"] for image in shown["images"]] == ["temp", "temp"]
    assert len(list(tmp_path.iterdir())) == 2
