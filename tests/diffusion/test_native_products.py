"""The products with laid-out weights, and all that they do beside multiplying: every form that runs here against
PyTorch in float64, and PyTorch itself where the machine can't run a form."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.networks.layers import Conv2d, GatedLinear, Linear
from diffusion.networks.native_products import FORMS, Products, Squares, products_for
from tests.diffusion.native_samples import library_with, values

TOLERANCE = {torch.float32: 5e-6, torch.bfloat16: 5e-3}
FORM_DTYPES = [(form, dtype) for dtype, forms in FORMS.items() for form in forms]


@pytest.fixture(params=FORM_DTYPES, ids=lambda form: form[0])
def kernel(request: pytest.FixtureRequest) -> tuple[Products | None, torch.dtype]:
    form, dtype = request.param
    library = library_with("product", form)
    return (Products(form, library) if library else None), dtype


def close(found: Tensor, expected: Tensor, roundings: int = 1) -> bool:
    """Within so many roundings of the result's size to its dtype."""
    limit = TOLERANCE[found.dtype] * roundings * max(1.0, float(expected.abs().max()))
    return bool((found.double() - expected).abs().max() <= limit)


@torch.no_grad()
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 11, 16, 33, 300, 700])
@pytest.mark.parametrize(("depth", "columns"), [(32, 32), (320, 96), (1312, 64), (2912, 160)])
def test_multiplying(
    kernel: tuple[Products | None, torch.dtype], rows: int, depth: int, columns: int, bias: bool, added: bool
) -> None:
    products, dtype = kernel
    x = values(rows, depth, dtype=dtype)
    layer = Linear(depth, columns, bias=bias).to(dtype)
    layer.weight.copy_(values(columns, depth, dtype=dtype, scale=depth**-0.5, seed=1))
    onto = values(rows, columns, dtype=dtype, seed=2) if added else None
    expected = F.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    expected += 0 if onto is None else onto.double()
    if products:
        packed = products.pack(layer.weight)
        assert packed.shape == layer.weight.shape
        assert close(products.multiply(x, packed, layer.bias, onto), expected)
        # Rows may come in any shape.
        assert close(
            products.multiply(x[:, None], packed, layer.bias, None if onto is None else onto[:, None])[:, 0],
            expected,
        )
    layer.pack()
    assert close(layer(x, onto), expected, roundings=2)


@torch.no_grad()
@pytest.mark.parametrize("wide_result", [False, True])
@pytest.mark.parametrize("wide_added", [False, True, None])
def test_what_is_added_and_what_comes_may_be_wider_than_the_weights(
    kernel: tuple[Products | None, torch.dtype], wide_added: bool | None, wide_result: bool
) -> None:
    """In float32 they are not rounded: beside the exact sum, only the products' own error is left."""
    products, dtype = kernel
    result = torch.float32 if wide_result else dtype
    layers = Linear(96, 64).to(dtype), Conv2d(96, 64, 1).to(dtype), Conv2d(96, 64, 3, padding=1).to(dtype)
    picture = values(2, 96, 5, 7, dtype=dtype).contiguous(memory_format=torch.channels_last)
    pixels = picture.permute(0, 2, 3, 1)
    onto = None
    if wide_added is not None:
        onto = values(2, 64, 5, 7, dtype=torch.float32 if wide_added else dtype, seed=1)
    added = 0.0 if onto is None else onto.double()
    expected = [
        F.linear(pixels.double(), layers[0].weight.double(), layers[0].bias.double()).permute(0, 3, 1, 2)
        + added,
        *(
            F.conv2d(picture.double(), each.weight.double(), each.bias.double(), padding=each.padding) + added
            for each in layers[1:]
        ),
    ]
    if products:
        rows = None if onto is None else onto.permute(0, 2, 3, 1)
        packed = products.pack(layers[0].weight)
        found = products.multiply(pixels, packed, layers[0].bias, rows, result)
        assert found.dtype == result
        assert close(found.permute(0, 3, 1, 2), expected[0])
        packed = products.pack(layers[2].weight.permute(0, 2, 3, 1).flatten(1))
        found = products.convolve(picture, packed, layers[2].bias, Squares(3), onto, result)
        assert found.dtype == result
        assert close(found, expected[2])
    for layer, wanted in zip(layers, expected, strict=True):
        if isinstance(layer, Linear):
            given, wanted = pixels, wanted.permute(0, 2, 3, 1)
            rows = None if onto is None else onto.permute(0, 2, 3, 1)
        else:
            given, rows = picture, onto
        for _ in range(2):
            found = layer(given, rows, result)
            assert found.dtype == result
            # PyTorch rounds the product before it adds.
            limit = 2 * TOLERANCE[dtype] * max(1.0, float(wanted.abs().max()))
            assert (found.double() - wanted).abs().max() <= limit
            layer.pack()


@torch.no_grad()
def test_a_wider_result_of_another_precision_is_refused(
    kernel: tuple[Products | None, torch.dtype],
) -> None:
    products, dtype = kernel
    weight, x = values(32, 32, dtype=dtype), values(3, 32, dtype=dtype)
    for wrong in (torch.float64, torch.float16):
        if products:
            with pytest.raises(ValueError, match="was to meet"):
                products.multiply(x, weight, None, None, wrong)


@torch.no_grad()
@pytest.mark.parametrize(("rows", "depth", "hidden"), [(1, 32, 32), (77, 320, 160), (530, 1312, 48)])
def test_multiplying_and_gating(
    kernel: tuple[Products | None, torch.dtype], rows: int, depth: int, hidden: int
) -> None:
    products, dtype = kernel
    layer = GatedLinear(depth, 2 * hidden).to(dtype)
    x = values(rows, depth, dtype=dtype, scale=3)
    value, gate = F.linear(x.double(), layer.weight.double(), layer.bias.double()).chunk(2, dim=-1)
    expected = value * F.gelu(gate)
    if products:
        assert close(products.gate(x, products.pack(layer.weight, gated=True), layer.bias), expected)
    assert close(layer(x), expected, roundings=3)
    layer.pack()
    assert close(layer(x), expected, roundings=3)


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 7), (17, 9)])
@pytest.mark.parametrize("squares", [Squares(3), Squares(3, stride=2), Squares(2)])
@pytest.mark.parametrize("channels", [32, 480])
def test_convolving(
    kernel: tuple[Products | None, torch.dtype], squares: Squares, size: tuple[int, int], channels: int
) -> None:
    products, dtype = kernel
    layer = Conv2d(channels, 64, squares.size, squares.stride, padding=1).to(dtype)
    x = values(2, channels, *size, dtype=dtype, seed=1)
    expected = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), squares.stride, padding=1)
    assert expected.shape[2:] == squares.out_size(*size)
    onto = values(*expected.shape, dtype=dtype, seed=3)
    if products:
        packed = products.pack(layer.weight.permute(0, 2, 3, 1).flatten(1))
        without_bias = expected - layer.bias.double()[:, None, None]
        assert close(products.convolve(x, packed, layer.bias, squares), expected)
        assert close(products.convolve(x, packed, None, squares, onto), without_bias + onto.double())
    layer.pack()
    assert close(layer(x, onto), expected + onto.double(), roundings=3)


@torch.no_grad()
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38])
def test_extreme_numbers_stay_in_their_rows(kernel: tuple[Products | None, torch.dtype], bad: float) -> None:
    products, dtype = kernel
    layer = Linear(64, 64).to(dtype)
    x = values(40, 64, dtype=dtype)
    x[7] = bad
    expected = layer(x)
    found = products.multiply(x, products.pack(layer.weight), layer.bias) if products else layer(x)
    assert found[7].isfinite().any() == expected[7].isfinite().any()
    others = torch.arange(40) != 7
    assert close(found[others], expected[others].double(), roundings=2)


@torch.no_grad()
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same(
    kernel: tuple[Products | None, torch.dtype], threads: int
) -> None:
    products, dtype = kernel
    weight, x = values(96, 320, dtype=dtype), values(400, 320, dtype=dtype, seed=1)
    layer = Linear(320, 96, bias=False).to(dtype)
    layer.weight.copy_(weight)
    packed = products.pack(weight) if products else weight
    before = torch.get_num_threads()
    results = []
    try:
        for count in (before, threads):
            torch.set_num_threads(count)
            results.append(products.multiply(x, packed, None) if products else layer(x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@torch.no_grad()
def test_no_rows_give_no_rows(kernel: tuple[Products | None, torch.dtype]) -> None:
    layer = Linear(64, 96).to(kernel[1])
    layer.pack()
    assert layer(values(0, 64, dtype=kernel[1])).shape == (0, 96)


def test_weights_of_odd_sizes_are_left_to_pytorch() -> None:
    for dtype in FORMS:
        assert products_for(values(40, 64, dtype=dtype)) is None
        assert products_for(values(32, 48, dtype=dtype)) is None
    assert products_for(values(32, 64, dtype=torch.float32).half()) is None


@torch.no_grad()
def test_tensors_that_do_not_belong_together_are_refused(kernel: tuple[Products | None, torch.dtype]) -> None:
    products, dtype = kernel
    other = torch.float32 if dtype == torch.bfloat16 else torch.bfloat16
    x, weight = values(4, 64, dtype=dtype), values(96, 64, dtype=dtype)
    if products is None:
        with pytest.raises(RuntimeError):
            F.linear(x.to(other), weight)
        return
    packed = products.pack(weight)
    with pytest.raises(ValueError, match="was to meet"):
        products.multiply(x.to(other), packed, None)
    with pytest.raises(ValueError, match="was to meet numbers"):
        products.multiply(x[:, :32], packed, None)
    with pytest.raises(ValueError, match="another shape"):
        products.multiply(x, packed, None, added=x)
    with pytest.raises(ValueError, match="another shape"):
        products.multiply(x, packed, values(64, dtype=dtype))
    with pytest.raises(ValueError, match="was to meet numbers"):
        products.convolve(values(1, 64, 3, 3, dtype=dtype), packed, None, Squares(3))
