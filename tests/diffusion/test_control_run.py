"""Controls in a sampling run: against a run by diffusers' networks, and what is computed when."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from diffusion.config import AdapterConfig, ControlNetConfig
from diffusion.control.hints import fitted
from diffusion.control.model import Control, ControlModel, controlled, controls_of
from diffusion.control.run import begin_controls
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.sampling.denoiser import Denoiser
from diffusion.sampling.sample import sample
from diffusion.sampling.samplers import OnStep
from diffusion.types import Cond, Conditioning, Image, Latent
from tests.diffusion.control_reference import (
    CFG_SCALE,
    FULL,
    LIGHT,
    NET,
    SCHEDULE,
    SEED,
    STEPS,
    UNET,
    Led,
    control_model,
    diffusers_controlnet,
    diffusers_network,
    hint,
    latent,
    model,
    predicted,
    prompt,
    sampled,
)
from tests.diffusion.limits import limit_with_room
from tests.diffusion.reference import random_weights, relative_error

Prompts = tuple[Conditioning, Conditioning]
PLAIN = prompt(1), prompt(2)
TOLERANCE = 1e-4


def run(
    prompts: Prompts, start: Latent | None = None, *, of: Model | None = None, on_step: OnStep | None = None
) -> Tensor:
    return sample(
        of or model(),
        positive=prompts[0],
        negative=prompts[1],
        latent=start or latent(),
        seed=SEED,
        steps=STEPS,
        cfg=CFG_SCALE,
        sampler_name="euler",
        scheduler="normal",
        on_step=on_step,
    ).samples


def led_by(*controls: Control) -> Prompts:
    """Both prompts, led by all of these."""
    positive, negative = PLAIN
    for control in controls:
        positive, negative = controlled(positive, control), controlled(negative, control)
    return positive, negative


@contextmanager
def calls_of(network: nn.Module, part: str) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of what a part of the network gives, call by call."""
    shapes: list[tuple[int, ...]] = []
    handle = network.get_submodule(part).register_forward_hook(
        lambda _, __, result: shapes.append(tuple(result.shape))
    )
    yield shapes
    handle.remove()


NETS = {
    "one": [(NET, 2, 0, 1.0)],
    "weaker": [(NET, 2, 0, 0.4)],
    "two": [(NET, 2, 0, 1.0), (NET, 7, 1, 0.5)],
    "full adapter": [(FULL, 2, 0, 0.7)],
    "light adapter": [(LIGHT, 2, 0, 1.0)],
    "both kinds": [(NET, 2, 0, 1.0), (FULL, 2, 1, 0.5)],
}
"""Which networks lead, by config and seed, what they read, by seed, and how strongly."""


@pytest.mark.parametrize("name", NETS)
def test_agrees_with_diffusers(name: str) -> None:
    controls = [Control(control_model(config, net), hint(read), by) for config, net, read, by in NETS[name]]
    led = [Led(diffusers_network(config, net), hint(read), by) for config, net, read, by in NETS[name]]
    found = run(led_by(*controls))
    assert relative_error(found, sampled(latent(), PLAIN, (led, led))) < TOLERANCE
    assert relative_error(found, run(PLAIN)) > 0.01


def test_a_net_that_copies_style_adds_the_mean_of_the_picture() -> None:
    found = run(led_by(Control(control_model(pooled=True), hint())))
    led = [Led(diffusers_controlnet(pooled=True), hint())]
    assert relative_error(found, sampled(latent(), PLAIN, (led, led))) < TOLERANCE


@pytest.mark.parametrize("hints", [1, 2, 3, 5])
def test_a_batch_of_pictures_leads_a_batch_of_latents(hints: int) -> None:
    """Too few are repeated from the start, too many left out."""
    pictures = hint(batch=hints)
    found = run(led_by(Control(control_model(), pictures)), latent(3))
    each = Image(pictures[[number % hints for number in range(3)]])
    led = [Led(diffusers_controlnet(), each)]
    assert relative_error(found, sampled(latent(3), PLAIN, (led, led))) < TOLERANCE


@pytest.mark.parametrize("config", [NET, LIGHT], ids=["controlnet", "adapter"])
def test_one_prompt_alone_may_be_led(config: ControlNetConfig | AdapterConfig) -> None:
    control = Control(control_model(config), hint())
    led = [Led(diffusers_network(config), hint())]
    start = latent(2)
    found = run((controlled(PLAIN[0], control), PLAIN[1]), start)
    assert relative_error(found, sampled(start, PLAIN, (led, []))) < TOLERANCE
    other = run((PLAIN[0], controlled(PLAIN[1], control)), start)
    assert relative_error(other, sampled(start, PLAIN, ([], led))) < TOLERANCE


def test_each_prompt_may_be_led_by_its_own() -> None:
    first, second = Control(control_model(), hint()), Control(control_model(NET, 7), hint(1), 0.5)
    found = run((controlled(PLAIN[0], first), controlled(PLAIN[1], second)), latent(2))
    led = [Led(diffusers_controlnet(), hint())], [Led(diffusers_controlnet(NET, 7), hint(1), 0.5)]
    assert relative_error(found, sampled(latent(2), PLAIN, led)) < TOLERANCE


def test_prompts_of_other_lengths_are_led_together() -> None:
    prompts = prompt(1), prompt(2, tokens=22)
    control = Control(control_model(), hint())
    found = run((controlled(prompts[0], control), controlled(prompts[1], control)))
    led = [Led(diffusers_controlnet(), hint())]
    assert relative_error(found, sampled(latent(), prompts, (led, led))) < TOLERANCE


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.3, 1.0), (0.3, 0.7)])
def test_it_leads_in_its_part_of_the_schedule(start: float, end: float) -> None:
    found = run(led_by(Control(control_model(), hint(), 1.0, start, end)))
    highest = float("inf") if start == 0 else float(SCHEDULE.sigma(torch.tensor((1 - start) * 999)))
    lowest = 0.0 if end == 1 else float(SCHEDULE.sigma(torch.tensor((1 - end) * 999)))
    led = [Led(diffusers_controlnet(), hint(), active=lambda sigma: lowest <= sigma <= highest)]
    assert relative_error(found, sampled(latent(), PLAIN, (led, led))) < TOLERANCE
    assert relative_error(found, run(led_by(Control(control_model(), hint())))) > 1e-3


def test_no_strength_is_no_control() -> None:
    assert controlled(PLAIN[0], Control(control_model(), hint(), 0.0)) is PLAIN[0]
    assert torch.equal(run(led_by(Control(control_model(), hint(), 0.0))), run(PLAIN))


def test_linear_up_weighs_each_stage_by_a_power() -> None:
    x, sigma = latent().samples, 2.0

    class Weighed:
        def __call__(self, *args: Tensor, **_: object) -> tuple[list[Tensor], Tensor]:
            down, middle = diffusers_controlnet()(*args, return_dict=False)
            return [part * 0.6 ** (9 - stage) for stage, part in enumerate(down)], middle * 0.6

    expected = predicted(x, sigma, PLAIN[0], [Led(Weighed(), hint())])
    prompts = led_by(Control(control_model(), hint(), 0.6, strength_type="linear_up"))
    unet = model().runtime.unet(model())
    denoiser = Denoiser(unet, SCHEDULE, control=begin_controls(prompts, model()))
    with torch.no_grad():
        (found,) = denoiser.predict(x, sigma, prompts[:1])
    assert relative_error(found, expected) < TOLERANCE


def test_a_network_runs_once_a_step_for_all_that_it_leads() -> None:
    control = Control(control_model(), hint(), 1.0, 0.0, 0.5)
    network = model().runtime.control_network(control.model)
    with calls_of(network, "middle_block_out.0") as whole, calls_of(network, "input_hint_block.14") as read:
        run(led_by(control), latent(3))
    assert read == [(1, 32, 6, 10)]
    assert whole == [(6, 64, 2, 3)] * (STEPS // 2)


def test_an_adapter_runs_once_a_run() -> None:
    control = Control(control_model(FULL), hint(batch=3))
    with calls_of(model().runtime.control_network(control.model), "conv_in") as calls:
        run(led_by(control), latent(3))
    assert calls == [(3, 32, 6, 10)]


def test_the_older_way_leads_the_other_prompts_too() -> None:
    control = Control(control_model(), hint(), 0.8)
    shared = controlled(PLAIN[0], control, to_all=True)
    assert torch.equal(run((shared, PLAIN[1])), run(led_by(control)))
    own = controlled(PLAIN[1], Control(control_model(NET, 7), hint(1)))
    expected = run((controlled(PLAIN[0], control), own))
    assert torch.equal(run((shared, own)), expected)


def test_what_was_applied_first_stays() -> None:
    first, second = Control(control_model(), hint()), Control(control_model(), hint(1))
    (entry,) = led_by(first, second)[0].entries
    assert controls_of(entry) == (first, second)
    assert controls_of(PLAIN[0].entries[0]) == ()


@pytest.mark.parametrize("size", [(96, 160), (48, 200), (100, 80), (7, 9)])
def test_pictures_are_cut_to_the_shape_of_the_latent_and_scaled(size: tuple[int, int]) -> None:
    """As the field does it: the middle of the picture, by the nearest pixels."""
    picture = hint(size=size)
    height, width = size
    across, down = min(width, height * 10 / 6), min(height, width * 6 / 10)
    left, top = round((width - across) / 2), round((height - down) / 2)
    cut = picture[:, top : height - top, left : width - left].permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(cut, (48, 80), mode="nearest-exact")
    assert torch.equal(fitted(picture, (6, 10)), expected)


def test_a_picture_of_any_size_leads() -> None:
    large = Image(hint().repeat_interleave(3, 1).repeat_interleave(3, 2))
    control, other = Control(control_model(), hint()), Control(control_model(), large)
    assert torch.equal(run(led_by(other)), run(led_by(control)))


def test_grey_adapters_read_the_mean_of_the_colours() -> None:
    grey = control_model(replace(FULL, hint_channels=1))
    mean = Image(hint().mean(-1, keepdim=True))
    assert torch.equal(run(led_by(Control(grey, hint()))), run(led_by(Control(grey, mean))))


def test_networks_that_are_let_go_of_between_steps_come_back() -> None:
    runtime, prompts = Runtime(), led_by(Control(control_model(), hint()))
    expected = run(prompts)
    released: list[int] = []

    def on_step(done: int, total: int, denoised: Tensor) -> None:
        runtime.release()
        released.append(done)

    found = run(prompts, of=replace(model(), runtime=runtime), on_step=on_step)
    assert torch.equal(found, expected)
    assert len(released) == STEPS


def test_it_works_in_half_precision() -> None:
    half = Runtime(Placement(dtype=torch.bfloat16))
    prompts = led_by(*(Control(control_model(config), hint()) for config in (NET, FULL)))
    assert relative_error(run(prompts, of=replace(model(), runtime=half)), run(prompts)) < 0.05


def test_it_works_within_a_memory_limit() -> None:
    limited = Runtime(Placement(memory_limit=limit_with_room(200 << 20)))
    prompts = led_by(*(Control(control_model(config), hint()) for config in (NET, FULL)))
    found, expected = run(prompts, of=replace(model(), runtime=limited)), run(prompts)
    assert torch.equal(found, expected)


def test_an_inpainting_model_is_led_by_the_latent_alone() -> None:
    config = replace(UNET, in_channels=9)
    inpainting = Model(random_weights(lambda: UNet(config), 1), config, model().runtime)
    start = replace(latent(), noise_mask=torch.ones(1, 1, 6, 10))
    control = Control(control_model(), hint())
    assert relative_error(run(led_by(control), start, of=inpainting), run(PLAIN, start, of=inpainting)) > 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (32, 64, 96)}, r"\(channels: \(32, 64, 64\), and the model's are \(32, 64, 96\)\)"),
        ({"blocks": 1}, "blocks: 2, and the model's are 1"),
        ({"context_dim": 32}, "width of prompts: 24, and the model's are 32"),
    ],
)
def test_networks_for_another_size_of_model_are_refused(change: dict[str, object], message: str) -> None:
    config = replace(UNET, **change)  # type: ignore[arg-type]
    other = Model(random_weights(lambda: UNet(config)), config, model().runtime)
    text = Conditioning((Cond(torch.zeros(1, 11, config.context_dim)),))
    with pytest.raises(ValueError, match=message):
        run((controlled(text, Control(control_model(), hint())), text), of=other)


def bad_picture(*shape: int, value: float = 0.5) -> Image:
    return Image(torch.full(shape, value))


@pytest.mark.parametrize(
    ("of", "picture", "message"),
    [
        (control_model(), bad_picture(1, 8, 8, 4), r"reads pictures of .* 3\]; got \[1, 8, 8, 4\]"),
        (control_model(FULL), bad_picture(1, 8, 8, 1), "This T2I-Adapter reads pictures"),
        (control_model(), bad_picture(8, 8, 3), r"got \[8, 8, 3\]"),
        (control_model(), bad_picture(0, 8, 8, 3), r"got \[0, 8, 8, 3\]"),
        (control_model(), bad_picture(1, 8, 8, 3, value=float("nan")), "NaN"),
    ],
)
def test_pictures_that_it_cannot_read_are_refused(of: ControlModel, picture: Image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Control(of, picture)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((float("inf"),), "finite"),
        ((1.0, 0.6, 0.5), "the end not before the start; got 0.6 and 0.5"),
        ((1.0, -0.1, 0.5), "got -0.1"),
        ((1.0, 0.0, 1.5), "1.5"),
        ((1.0, 0.0, 1.0, "gentle"), "no strength_type 'gentle'"),
        ((-1.0, 0.0, 1.0, "linear_up"), "negative strength"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings: Sequence[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Control(control_model(), hint(), *settings)  # type: ignore[arg-type]


def test_a_picture_too_thin_to_be_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        run(led_by(Control(control_model(), hint(size=(1000, 1)))))
