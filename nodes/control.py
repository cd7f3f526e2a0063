"""Nodes that let a picture lead what is drawn: ControlNet, T2I-Adapter and hypernetworks."""

from typing import Annotated, NamedTuple

from diffusion.control.load import load_control
from diffusion.control.model import STRENGTH_TYPES, Control, ControlModel, controlled
from diffusion.hypernetwork import load_hypernetwork
from diffusion.model import Model, Vae
from diffusion.runtime import Runtime
from diffusion.types import Conditioning, Image
from graph import QUIET, Choice, Context, File, Range, Socket, node
from imaging.checks import picture
from nodes.fingerprints import file_stamp

ControlNetSocket = Annotated[ControlModel, Socket("CONTROL_NET")]
Strength = Annotated[float, Range(0, 10, step=0.01)]
Percent = Annotated[float, Range(0, 1, step=0.001)]
StrengthTypeName = Annotated[str, Choice(STRENGTH_TYPES)]


class PositiveNegative(NamedTuple):
    """What to show, and what to avoid."""

    positive: Conditioning
    negative: Conditioning


def _control_stamp(*, control_net_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(ctx.folders.find("controlnet", control_net_name))


@node("ControlNetLoader", title="Load ControlNet Model", category="loaders", fingerprint=_control_stamp)
def control_net_loader(
    *, control_net_name: Annotated[str, File("controlnet")], ctx: Context = QUIET
) -> ControlNetSocket:
    """Read a ControlNet or a T2I-Adapter for Stable Diffusion 1.x: .safetensors or .pth, fp32, fp16 or bf16.

    A ControlNet is in the published layout or diffusers'; an adapter is a full or a light one. Pickle code in a .pth is
    never run.

    Inputs:
        control_net_name: The file, relative to a controlnet folder.

    Outputs:
        CONTROL_NET: The network that reads a picture and leads the model by it.
    """
    return load_control(ctx.folders.find("controlnet", control_net_name), ctx.service(Runtime, Runtime))


@node(
    "DiffControlNetLoader",
    title="Load ControlNet Model (diff)",
    category="loaders",
    fingerprint=_control_stamp,
)
def diff_control_net_loader(
    *, model: Model, control_net_name: Annotated[str, File("controlnet")], ctx: Context = QUIET
) -> ControlNetSocket:
    """Read a ControlNet that is kept as its difference to a model, whole or in low rank (Control-LoRA), and add it.

    A ControlNet or T2I-Adapter that is kept whole is read as it is.

    Inputs:
        model: The model to add it to, with the LoRAs that are on it.
        control_net_name: The file, relative to a controlnet folder.

    Outputs:
        CONTROL_NET: The network that reads a picture and leads the model by it.
    """
    path = ctx.folders.find("controlnet", control_net_name)
    return load_control(path, ctx.service(Runtime, Runtime), model)


@node("ControlNetApply", title="Apply ControlNet (OLD)", category="conditioning/controlnet")
def control_net_apply(
    *, conditioning: Conditioning, control_net: ControlNetSocket, image: Image, strength: Strength = 1.0
) -> Conditioning:
    """Let a picture lead what a prompt shows, and the sampler's other prompts too where they have no control.

    Any number can be chained.

    Inputs:
        conditioning: The prompt to lead.
        control_net: The network that reads the picture.
        image: The picture, [B, H, W, 3] float32, 0..1: what the network was trained to read, such as edges or depths.
            It is cut to the latent's shape around its centre and scaled. One for the whole batch, or one for each.
        strength: How strongly it leads; 0 changes nothing.

    Outputs:
        CONDITIONING: The prompt, led by the picture.
    """
    control = Control(control_net, Image(picture(image, "image")), strength)
    return controlled(conditioning, control, to_all=True)


@node("ControlNetApplyAdvanced", title="Apply ControlNet", category="conditioning/controlnet")
def control_net_apply_advanced(
    *,
    positive: Conditioning,
    negative: Conditioning,
    control_net: ControlNetSocket,
    image: Image,
    strength: Strength = 1.0,
    start_percent: Percent = 0.0,
    end_percent: Percent = 1.0,
    vae: Vae | None = None,
    strength_type: StrengthTypeName = "constant",
) -> PositiveNegative:
    """Let a picture lead what two prompts show, in a part of the steps. Any number can be chained.

    Inputs:
        positive: What to show.
        negative: What to avoid.
        control_net: The network that reads the picture.
        image: The picture, [B, H, W, 3] float32, 0..1: what the network was trained to read, such as edges or depths.
            It is cut to the latent's shape around its centre and scaled. One for the whole batch, or one for each.
        strength: How strongly it leads; 0 changes nothing.
        start_percent: From where in the schedule it leads, 0 being the noisiest level.
        end_percent: Up to where in the schedule it leads, 1 being its end.
        vae: Not used: networks for Stable Diffusion 1.x read the picture itself.
        strength_type: constant, or linear_up: the finer the stage of the UNet, the higher the power of the strength
            that it is led by, so that a strength below 1 leaves details to the prompt.

    Outputs:
        positive: What to show, led by the picture.
        negative: What to avoid, led by the picture.
    """
    control = Control(
        control_net, Image(picture(image, "image")), strength, start_percent, end_percent, strength_type
    )
    return PositiveNegative(controlled(positive, control), controlled(negative, control))


def _hypernetwork_stamp(*, hypernetwork_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(ctx.folders.find("hypernetworks", hypernetwork_name))


@node("HypernetworkLoader", title="Load Hypernetwork", category="loaders", fingerprint=_hypernetwork_stamp)
def hypernetwork_loader(
    *,
    model: Model,
    hypernetwork_name: Annotated[str, File("hypernetworks")],
    strength: Annotated[float, Range(-10, 10, step=0.01)] = 1.0,
    ctx: Context = QUIET,
) -> Model:
    """Add a hypernetwork to a model: small networks that change what attention reads. Any number can be chained.

    Pickle code in a .pt is never run.

    Inputs:
        model: The model to add it to.
        hypernetwork_name: The file (.pt), relative to a hypernetworks folder.
        strength: How strongly it changes the model; may be negative; 0 leaves the model as it is.

    Outputs:
        MODEL: The model with the hypernetwork.
    """
    hypernetwork = load_hypernetwork(ctx.folders.find("hypernetworks", hypernetwork_name))
    return hypernetwork.applied(model, strength)
