"""Graphs as ComfyUI exports them, for the ten things its examples show: its ids, inputs and widget values, its quirks.

The wiring is that of its published examples; prompts, sizes and file names are ours. `drawing` gives the same graph as
its editor keeps it, in the forms of three ages.
"""

from __future__ import annotations

from typing import Any

Graph = dict[str, dict[str, Any]]

CHECKPOINT, VAE = "SD1.5\\tiny-pruned.safetensors", "tiny-mse.safetensors"
BAD = "text, watermark"
WIDGETS = {
    "CheckpointLoaderSimple": ["ckpt_name"],
    "CLIPSetLastLayer": ["stop_at_clip_layer"],
    "CLIPTextEncode": ["text"],
    "ConditioningSetArea": ["width", "height", "x", "y", "strength"],
    "ControlNetApply": ["strength"],
    "ControlNetLoader": ["control_net_name"],
    "DiffControlNetLoader": ["control_net_name"],
    "EmptyLatentImage": ["width", "height", "batch_size"],
    "ImageScale": ["upscale_method", "width", "height", "crop"],
    "KSampler": ["seed", "control", "steps", "cfg", "sampler_name", "scheduler", "denoise"],
    "KSamplerAdvanced": [
        *("add_noise", "noise_seed", "control", "steps", "cfg", "sampler_name", "scheduler", "start_at_step"),
        *("end_at_step", "return_with_leftover_noise"),
    ],
    "LatentComposite": ["x", "y", "feather"],
    "LatentUpscale": ["upscale_method", "width", "height", "crop"],
    "LoadImage": ["image", "upload"],
    "LoraLoader": ["lora_name", "strength_model", "strength_clip"],
    "SaveImage": ["filename_prefix"],
    "UpscaleModelLoader": ["model_name"],
    "VAEEncodeForInpaint": ["grow_mask_by"],
    "VAELoader": ["vae_name"],
}
"""What the editor of ComfyUI shows widgets for, in the order in which it keeps their values."""
SOCKETS = {
    "CLIPSetLastLayer": ["clip"],
    "CLIPTextEncode": ["clip"],
    "ConditioningCombine": ["conditioning_1", "conditioning_2"],
    "ConditioningSetArea": ["conditioning"],
    "ControlNetApply": ["conditioning", "control_net", "image"],
    "DiffControlNetLoader": ["model"],
    "ImageScale": ["image"],
    "ImageUpscaleWithModel": ["upscale_model", "image"],
    "KSampler": ["model", "positive", "negative", "latent_image"],
    "KSamplerAdvanced": ["model", "positive", "negative", "latent_image"],
    "LatentComposite": ["samples_to", "samples_from"],
    "LatentUpscale": ["samples"],
    "LoraLoader": ["model", "clip"],
    "PreviewImage": ["images"],
    "SaveImage": ["images"],
    "VAEDecode": ["samples", "vae"],
    "VAEEncode": ["pixels", "vae"],
    "VAEEncodeForInpaint": ["pixels", "vae", "mask"],
}
"""Its inputs for links, in its order."""


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sampler(**changed: Any) -> dict[str, Any]:
    """KSampler as it is in a new graph: whole numbers are written without a point, sampler widgets before links."""
    usual: dict[str, Any] = {
        "seed": 156680208700286,
        "steps": 12,
        "cfg": 8,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
    }
    return node("KSampler", **usual | changed)


def text_to_image(prompt: str = "a red circle on a white background") -> Graph:
    """The graph that the editor starts with; node 3 comes before what it is linked to."""
    return {
        "3": sampler(),
        "4": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "5": node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "6": node("CLIPTextEncode", text=f"{prompt}\n", clip=["4", 1]),
        "7": node("CLIPTextEncode", text=BAD, clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
    }


def loaded(name: str) -> dict[str, Any]:
    """LoadImage as the first editors exported it: their upload button was an input, their cache left a mark."""
    return node("LoadImage", image=name) | {"is_changed": ["6f2a"]}


def image_to_image() -> Graph:
    graph = text_to_image("a blue circle on a white background")
    del graph["5"]
    graph["3"] = sampler(
        sampler_name="dpmpp_2m", scheduler="karras", cfg=5, denoise=0.5000000000000001, latent_image=["12", 0]
    )
    graph["10"] = loaded("red-circle.png")
    graph["10"]["inputs"]["choose file to upload"] = "image"
    graph["12"] = node("VAEEncode", pixels=["10", 0], vae=["4", 2])
    return graph


def inpaint() -> Graph:
    graph = text_to_image("a yellow star to the left of a red heart on a blue background")
    del graph["5"]
    graph["3"] = sampler(sampler_name="uni_pc_bh2", cfg=5, latent_image=["26", 0])
    graph["20"] = node("LoadImage", image="clipspace/clipspace-mask-31.png [input]", upload="image")
    graph["26"] = node("VAEEncodeForInpaint", grow_mask_by=6, pixels=["20", 0], vae=["4", 2], mask=["20", 1])
    return graph


def loras() -> Graph:
    """Two in a row."""
    graph = text_to_image("a large red heart on a white background")
    graph["3"] = sampler(model=["10", 0])
    for name in ("6", "7"):
        graph[name]["inputs"]["clip"] = ["10", 1]
    graph["10"] = node(
        "LoraLoader",
        lora_name="styles\\outline.safetensors",
        strength_model=0.9999999999999998,
        strength_clip=1,
        model=["11", 0],
        clip=["11", 1],
    )
    graph["11"] = node(
        "LoraLoader",
        lora_name="outline_v2.safetensors",
        strength_model=0,
        strength_clip=0,
        model=["4", 0],
        clip=["4", 1],
    )
    return graph


def embedding() -> Graph:
    graph = text_to_image("a embedding:red-star.pt on a blue background")
    graph["3"] = sampler(sampler_name="uni_pc_bh2")
    return graph


def controlnets() -> Graph:
    """Two networks in a row, one of them kept as a difference, and a VAE of its own."""
    graph = text_to_image()
    graph["3"] = sampler(steps=6, cfg=6, positive=["23", 0])
    graph["8"]["inputs"]["vae"] = ["13", 0]
    graph["13"] = node("VAELoader", vae_name=VAE)
    graph["11"] = loaded("red-circle.png")
    graph["12"] = node("ControlNetLoader", control_net_name="control_scribble.safetensors")
    graph["20"] = node("LoadImage", image="depth.png [output]", upload="image")
    graph["33"] = node("DiffControlNetLoader", control_net_name="diff_depth.safetensors", model=["4", 0])
    graph["22"] = node(
        "ControlNetApply",
        strength=0.5000000000000001,
        conditioning=["6", 0],
        control_net=["33", 0],
        image=["20", 0],
    )
    graph["23"] = node(
        "ControlNetApply",
        strength=0.2,
        conditioning=["22", 0],
        control_net=["12", 0],
        image=["11", 0],
    )
    return graph


def areas() -> Graph:
    """Two subjects side by side before one background, the text encoder's last layer named, the VAE from a file."""
    graph = text_to_image("a white background")
    graph["3"] = sampler(
        seed=7, sampler_name="dpmpp_2m", scheduler="karras", steps=13, cfg=5, positive=["47", 0]
    )
    graph["5"] = node("EmptyLatentImage", width=256, height=128, batch_size=1)
    graph["8"]["inputs"]["vae"] = ["20", 0]
    graph["20"] = node("VAELoader", vae_name=VAE)
    graph["52"] = node("CLIPSetLastLayer", stop_at_clip_layer=-1, clip=["4", 1])
    for name in ("6", "7"):
        graph[name]["inputs"]["clip"] = ["52", 0]
    graph["45"] = node("CLIPTextEncode", text="a red circle on a white background", clip=["52", 0])
    graph["48"] = node("CLIPTextEncode", text="a blue star on a white background", clip=["52", 0])
    graph["46"] = node(
        "ConditioningSetArea", width=128, height=128, x=0, y=0, strength=2, conditioning=["45", 0]
    )
    graph["49"] = node(
        "ConditioningSetArea",
        width=128,
        height=128,
        x=128,
        y=0,
        strength=2.0000000000000004,
        conditioning=["48", 0],
    )
    graph["50"] = node("ConditioningCombine", conditioning_1=["49", 0], conditioning_2=["46", 0])
    graph["47"] = node("ConditioningCombine", conditioning_1=["50", 0], conditioning_2=["6", 0])
    # A node that nobody asks for may lack a link: the field's queues take such graphs.
    graph["51"] = node("ConditioningCombine", conditioning_1=["50", 0])
    return graph


def upscale() -> Graph:
    graph = text_to_image()
    graph["3"] = sampler(steps=4)
    graph["9"]["inputs"]["images"] = ["14", 0]
    graph["13"] = node("UpscaleModelLoader", model_name="nearest_x2.pth")
    graph["14"] = node("ImageUpscaleWithModel", upscale_model=["13", 0], image=["8", 0])
    graph["15"] = node("PreviewImage", images=["8", 0])
    return graph


def hires_fix() -> Graph:
    """By way of latents; both passes are saved."""
    graph = text_to_image()
    graph["3"] = sampler(sampler_name="dpmpp_2m", scheduler="karras", cfg=5)
    graph["10"] = node(
        "LatentUpscale",
        upscale_method="nearest-exact",
        width=192,
        height=192,
        crop="disabled",
        samples=["3", 0],
    )
    graph["11"] = sampler(
        sampler_name="dpmpp_2m", scheduler="simple", steps=14, denoise=0.3, cfg=5, latent_image=["10", 0]
    )
    graph["12"] = node("SaveImage", filename_prefix="ComfyUI", images=["13", 0])
    graph["13"] = node("VAEDecode", samples=["11", 0], vae=["4", 2])
    return graph


def hires_fix_by_pictures() -> Graph:
    """By way of an upscale model."""
    graph = hires_fix()
    graph["11"]["inputs"]["latent_image"] = ["20", 0]
    graph["11"]["inputs"]["sampler_name"] = "uni_pc_bh2"
    del graph["10"]
    graph["20"] = node("VAEEncode", pixels=["24", 0], vae=["4", 2])
    graph["21"] = node("VAEDecode", samples=["3", 0], vae=["4", 2])
    graph["22"] = node("ImageUpscaleWithModel", upscale_model=["23", 0], image=["21", 0])
    graph["23"] = node("UpscaleModelLoader", model_name="nearest_x2.pth")
    graph["24"] = node(
        "ImageScale", upscale_method="bilinear", width=192, height=192, crop="disabled", image=["22", 0]
    )
    return graph


def partly(seed: int, **changed: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "add_noise": "enable",
        "noise_seed": seed,
        "steps": 16,
        "cfg": 5,
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
        "start_at_step": 0,
        "end_at_step": 5,
        "return_with_leftover_noise": "enable",
        "model": ["80", 0],
        "positive": ["63", 0],
        "negative": ["7", 0],
        "latent_image": ["62", 0],
    }
    return node("KSamplerAdvanced", **usual | changed)


def noisy_latents() -> Graph:
    """A background and two subjects, composed after five of sixteen steps and finished together."""
    ended = {"add_noise": "disable", "start_at_step": 5, "end_at_step": 10000}
    graph = {
        "5": node("EmptyLatentImage", width=128, height=64, batch_size=1),
        "7": node("CLIPTextEncode", text="", clip=["80", 1]),
        "8": node("VAEDecode", samples=["58", 0], vae=["80", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
        "57": partly(534686817346900, positive=["52", 0], latent_image=["5", 0]),
        "58": partly(
            0, **ended, return_with_leftover_noise="disable", positive=["71", 0], latent_image=["69", 0]
        ),
        "60": partly(554712045482021),
        "61": node("LatentComposite", x=0, y=0, feather=8, samples_to=["60", 0], samples_from=["57", 0]),
        "62": node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "64": partly(993814616615423, positive=["66", 0], latent_image=["5", 0]),
        "69": node("LatentComposite", x=0, y=64, feather=8, samples_to=["61", 0], samples_from=["64", 0]),
        "80": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
    }
    prompts = {
        "52": "a red circle on a yellow background",
        "63": "a yellow background",
        "66": "a blue square on a yellow background",
        "71": "a red circle above a blue square on a yellow background",
    }
    return graph | {name: node("CLIPTextEncode", text=text, clip=["80", 1]) for name, text in prompts.items()}


GRAPHS = {
    "text to image": text_to_image,
    "img2img": image_to_image,
    "inpaint": inpaint,
    "LoRA": loras,
    "embeddings": embedding,
    "ControlNet": controlnets,
    "area composition": areas,
    "upscale": upscale,
    "hires fix": hires_fix,
    "hires fix by pictures": hires_fix_by_pictures,
    "noisy latent composition": noisy_latents,
}


def drawing(graph: Graph, age: str) -> dict[str, Any]:
    """The graph as the editor keeps it: nodes, links and widget values.

    age: "first" (whether a seed changes is true or false, sizes are objects, empty lists are left out), "second" (a
    word says how a seed changes), "third" (widgets are listed among the inputs, and what to download is there too).
    """
    links: list[list[Any]] = []
    drawn = [_drawn(name, each, age, links) for name, each in graph.items()]
    drawn.append({"id": 901, "type": "Note", "mode": 0, "widgets_values": ["What this is."]})
    # What a muted node is linked to is there, and it is not.
    muted = {"id": 902, "type": "SaveImage", "mode": 2, "widgets_values": ["no"]}
    drawn.append(muted | {"inputs": [{"name": "images", "type": "IMAGE", "link": 900}]})
    links.append([900, 8, 0, 902, 0, "IMAGE"])
    return {
        "last_node_id": 902,
        "last_link_id": 900,
        "nodes": drawn,
        "links": links,
        "groups": [{"title": "All of it", "bounding": [0, 0, 4000, 4000], "color": "#3f789e"}],
        "config": {},
        "extra": {} if age == "first" else {"ds": {"scale": 0.8, "offset": [0, 0]}},
        "version": 0.4,
        **({"models": [{"name": "tiny", "url": "", "directory": "checkpoints"}]} if age == "third" else {}),
    }


def _drawn(name: str, node: dict[str, Any], age: str, links: list[list[Any]]) -> dict[str, Any]:
    kind, given = node["class_type"], node["inputs"]
    inputs: list[dict[str, Any]] = []
    for slot, socket in enumerate(SOCKETS.get(kind, ())):
        link = None
        if socket in given:
            link = len(links) + 1
            links.append([link, int(given[socket][0]), given[socket][1], int(name), slot, "*"])
        inputs.append({"name": socket, "type": "*", "link": link})
    words = {"control": True if age == "first" else "randomize", "upload": "image"}
    widgets = [words[widget] if widget in words else given[widget] for widget in WIDGETS.get(kind, ())]
    if age == "third":
        shown = (widget for widget in WIDGETS.get(kind, ()) if widget != "control")
        inputs += [
            {"name": each, "type": "*", "widget": {"name": each}, "link": None, "localized_name": each}
            for each in shown
        ]
    drawn = {
        "id": int(name),
        "type": kind,
        "pos": [10 * int(name), 20],
        "size": {"0": 210, "1": 46} if age == "first" else [210, 46],
        "flags": {},
        "order": 0,
        "mode": 0,
        "properties": {"Node name for S&R": kind} if age != "first" else {},
        "outputs": [{"name": "", "type": "*", "links": None}],
    }
    lists = {"inputs": inputs, "widgets_values": widgets}
    return drawn | (lists if age != "first" else {key: value for key, value in lists.items() if value})
