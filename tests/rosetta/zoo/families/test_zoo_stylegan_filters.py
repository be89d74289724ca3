"""StyleGAN3's filters, their schedule and the filtered nonlinearity, against SciPy and plain loops."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from probes import Array, passed, square
from scipy.signal import firwin, kaiser_atten
from strategies import filtered_maps
from torch import Tensor

from rosetta.zoo.families.stylegan import filtered
from rosetta.zoo.families.stylegan.filtered import filtered_lrelu
from rosetta.zoo.families.stylegan.schedule import Bands, lowpass, radial_lowpass, schedule
from rosetta.zoo.families.stylegan.synthesis import Filtering, Layer


@given(
    taps=st.integers(2, 40),
    cutoff=st.floats(0.05, 0.9),
    width=st.floats(0.02, 0.98),
    rate=st.sampled_from([1.0, 16.0, 2048.0]),
)
def test_a_lowpass_is_firwins(taps: int, cutoff: float, width: float, rate: float) -> None:
    nyquist = rate / 2
    found = lowpass(taps, cutoff * nyquist, width * nyquist / 2, rate)
    wanted = firwin(taps, cutoff * nyquist, width=width * nyquist, fs=rate)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


def response(kernel: Array, frequencies: Array, angle: float = 0.0) -> Array:
    """Magnitude at frequencies in cycles per sample, of a filter over both axes, along a direction from x to y."""
    places = np.arange(len(kernel))
    along = frequencies[:, None] * places
    x, y = (np.exp(-2j * np.pi * part * along) for part in (np.cos(angle), np.sin(angle)))
    return np.abs(np.einsum("fi,fj,ij->f", y, x, kernel))


@pytest.mark.parametrize("resolution", [256, 1024])
def test_a_filter_stops_what_it_must_by_its_attenuation(resolution: int) -> None:
    for step in schedule(resolution, 14)[:-1]:
        signal, rate = step.before, 2 * max(step.before.rate, step.after.rate)
        taps = 6 * rate // signal.rate
        kernel = lowpass(taps, signal.cutoff, signal.half_width, rate)
        loudest = passed(np.outer(kernel, kernel), (signal.cutoff + signal.half_width) / rate)
        # The estimate is for longer filters: 12 taps miss it by up to 5 dB.
        assert -20 * math.log10(loudest) == pytest.approx(kaiser_atten(taps, 4 * signal.half_width / rate), abs=5.5)


@pytest.mark.parametrize("taps", [12, 13, 24])
def test_a_radial_lowpass_passes_a_disc(taps: int) -> None:
    cutoff, half_width = 0.1, 0.12
    kernel = radial_lowpass(taps, cutoff, half_width, 1.0)
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-15)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
    frequencies = np.linspace(0, 0.35, 50)
    straight, *others = (response(kernel, frequencies, math.radians(degrees)) for degrees in (0, 15, 30, 45))
    line = lowpass(taps, cutoff, half_width, 1.0)
    square, diagonal = (response(np.outer(line, line), frequencies, angle) for angle in (0, np.pi / 4))
    uneven = max(np.abs(other - straight).max() for other in others)
    assert uneven < 0.02
    assert np.abs(diagonal - square).max() > 2 * uneven
    assert straight[frequencies < cutoff - half_width / 2].min() > 0.8
    assert max(each[frequencies > cutoff + half_width].max() for each in (straight, *others)) < 0.02


@given(resolution=st.sampled_from([16, 64, 1024]), layers=st.integers(3, 20))
def test_a_schedule_gives_every_layer_what_its_grid_can_hold(resolution: int, layers: int) -> None:
    steps = schedule(resolution, layers)
    assert [step.index for step in steps] == list(range(layers + 1))
    assert [step.before for step in steps] == [steps[0].after, *(step.after for step in steps[:-1])]
    signals = [step.after for step in steps]
    assert signals[0].cutoff == 2
    assert signals[-1].cutoff == resolution / 2
    for one, next_ in pairwise(signals):
        assert one.cutoff <= next_.cutoff
        assert one.rate <= next_.rate
    for step, signal in zip(steps, signals, strict=True):
        assert signal.cutoff == signal.rate / 2 if step.critical else signal.cutoff < signal.rate / 2
        assert signal.size == (resolution if step.index >= layers - 1 else signal.rate + 20)
    ratios = [after.cutoff / before.cutoff for before, after in pairwise(signals[:-2])]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


@pytest.mark.parametrize(
    ("resolution", "layers", "message"),
    [
        (24, 14, "resolution is 24, not a power"),
        (8, 14, "from 16 on"),
        (64, 2, "2 layers before to-RGB, not at least 3"),
    ],
)
def test_a_schedule_that_cannot_be(resolution: int, layers: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule(resolution, layers)


# The filtered nonlinearity


@given(
    power=st.integers(4, 8),
    layers=st.integers(3, 16),
    critical=st.integers(0, 2),
    first_cutoff=st.floats(1, 4),
    first_stopband=st.floats(4.1, 12),
    last_stopband=st.floats(1.05, 2),
    margin=st.integers(0, 12),
)
def test_a_schedule_is_the_papers_progression(
    power: int, layers: int, critical: int, margin: int, **bands: float
) -> None:
    """Section 3.2 and appendix C, for all layers at once."""
    resolution, base, most = 2**power, 700, 40
    done = np.minimum(np.arange(layers + 1) / (layers - critical), 1)
    cutoffs, stopbands = (
        first * (last / first) ** done
        for first, last in (
            (bands["first_cutoff"], resolution / 2),
            (bands["first_stopband"], resolution / 2 * bands["last_stopband"]),
        )
    )
    rates = 2 ** np.ceil(np.log2(np.minimum(2 * stopbands, resolution)))
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    wide = {"channel_base": base, "channel_max": most}
    build = lambda: schedule(resolution, layers, Bands(critical=critical, margin=margin, **wide, **bands))  # noqa: E731
    if (half_widths <= 0).any():
        with pytest.raises(ValueError, match="leaves filters no room to fall"):
            build()
        return
    steps = build()
    sizes, channels = rates + 2 * margin, np.rint(np.minimum(base / 2 / cutoffs, most))
    sizes[-2:], channels[-1] = resolution, 3
    for wanted, name in ((cutoffs, "cutoff"), (rates, "rate"), (half_widths, "half_width"), (sizes, "size")):
        np.testing.assert_allclose([getattr(step.after, name) for step in steps], wanted, rtol=1e-9)
    assert [step.after.channels for step in steps] == channels.tolist()
    assert [step.critical for step in steps] == [layer >= layers - critical for layer in range(layers + 1)]
    assert [step.before for step in steps[1:]] == [step.after for step in steps[:-1]]


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("clamp", [math.inf, 0.3])
def test_a_layer_that_never_leaves_its_grid_is_a_convolution(kernel: int, clamp: float) -> None:
    """Where the nonlinearity works on the grid itself, there is nothing to filter."""
    torch.manual_seed(0)
    step = schedule(16, 4, Bands(channel_base=64, channel_max=5))[1]
    assert step.before.rate == step.after.rate
    layer = Layer(step, 6, Filtering(kernel=kernel, oversampling=1, clamp=clamp)).requires_grad_(False)
    assert layer.up_filter is None
    assert layer.down_filter is None
    layer.bias.copy_(torch.randn(5))
    maps, w = torch.randn(2, 5, 36, 36), torch.randn(2, 6)
    styles = layer.affine(w)
    own = layer.weight * styles[:, None, :, None, None]
    own = own / own.square().sum((2, 3, 4), keepdim=True).sqrt()
    before, after = kernel // 2, (kernel - 1) // 2
    padded = torch.nn.functional.pad(maps, (before, after, before, after))
    wanted = torch.cat([torch.nn.functional.conv2d(padded[i : i + 1], own[i]) for i in range(2)])
    wanted = torch.nn.functional.leaky_relu(wanted + layer.bias[:, None, None], 0.2) * math.sqrt(2)
    torch.testing.assert_close(layer(maps, w), wanted.clamp(-clamp, clamp), rtol=1e-4, atol=1e-4)


def slow(maps: Array, bias: Array, up_filter: Array, down_filter: Array, options: dict[str, Any]) -> Array:
    """The definition, a sample at a time; both filters (tap, tap)."""
    up, down, (before, after) = options["up"], options["down"], options["padding"]
    images, channels, height, width = maps.shape
    rows, columns = len(up_filter), len(down_filter)
    fine = [side * up + before + after - (rows - 1) for side in (height, width)]
    bent = np.zeros((images, channels, *fine))
    for y in range(fine[0]):
        for x in range(fine[1]):
            for i in range(rows):
                for j in range(rows):
                    # A convolution meets its filter backwards.
                    (above, row), (left, column) = (divmod(y + i - before, up), divmod(x + j - before, up))
                    if row == column == 0 and 0 <= above < height and 0 <= left < width:
                        value = maps[:, :, above, left] + bias
                        bent[:, :, y, x] += up**2 * up_filter[rows - 1 - i, rows - 1 - j] * value
    bent = np.where(bent < 0, options["slope"] * bent, bent) * options["gain"]
    bent = np.clip(bent, -options["clamp"], options["clamp"])
    coarse = [-(-(side - columns + 1) // down) for side in fine]
    result = np.zeros((images, channels, *coarse))
    for y in range(coarse[0]):
        for x in range(coarse[1]):
            window = bent[:, :, y * down : y * down + columns, x * down : x * down + columns]
            result[:, :, y, x] = (window * down_filter[::-1, ::-1]).sum((2, 3))
    return result


def tensor(array: Array | None) -> Tensor | None:
    return None if array is None else torch.tensor(array, dtype=torch.float32)


@given(filtered_maps())
def test_the_nonlinearity_is_its_definition(
    case: tuple[Array, Array, Array | None, Array | None, dict[str, Any]],
) -> None:
    maps, bias, up_filter, down_filter, options = case
    inputs = [tensor(each) for each in (maps, bias, up_filter, down_filter)]
    found = filtered_lrelu(*inputs, **options)  # type: ignore[arg-type]
    # Both read the same numbers, as float32 holds them.
    exact = [None if each is None else each.double().numpy() for each in inputs]
    assert exact[0] is not None
    assert exact[1] is not None
    wanted = slow(exact[0], exact[1], square(exact[2]), square(exact[3]), options)
    assert found.shape == wanted.shape
    # Rounding is relative to what was summed up, not to what is left where that cancels.
    scale = max(np.abs(wanted).max(), np.abs(square(exact[3])).sum() * min(options["clamp"], np.abs(maps).max()))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-5 * scale)


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, kernel = torch.randn(2, 50, 9, 7, generator=torch.Generator().manual_seed(0)), torch.arange(1.0, 7) / 21
    run = lambda: filtered_lrelu(maps, maps[0, :, 0, 0], kernel, kernel, up=2, down=2, padding=(4, 5))  # noqa: E731
    whole, split = run(), []
    torch_split = Tensor.split
    monkeypatch.setattr(filtered, "_PIECE", {"cpu": 1})
    monkeypatch.setattr(Tensor, "split", lambda *args: split.append(args[1]) or torch_split(*args))
    assert torch.equal(run(), whole)
    assert split == [16]
