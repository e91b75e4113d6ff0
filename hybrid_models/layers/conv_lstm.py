"""ConvLSTM: an LSTM whose states are maps and whose transformations are convolutions (Shi et al. 2015).

Shapes: B batch, L steps, C channels of a frame, O output channels of a kernel, K its side, H height, W width,
N channels of a state (hidden, twice that in two directions). Gates are i, f, g, o in torch's order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_models.layers.precision import full_precision

PEEPHOLES = ("none", "printed", "original")
"""Peephole variants.

`none` is Keras' ConvLSTM. With `original`, the output gate reads the new memory (Shi et al. 2015); with `printed`, the
old one (Yin et al. 2019).
"""


class ConvLSTM(nn.Module):
    """A stack of ConvLSTM layers with zero initial states.

    Parameters are named as in `nn.LSTM`, with one bias per gate: `weight_ih_l0` (4 hidden, C, K, K), `weight_hh_l0`
    (4 hidden, hidden, K, K), `bias_l0` (4 hidden), `peephole_l0` (3, hidden, H, W) for i, f and o; names of the
    backward direction end in `_reverse`. Computes in its parameters' precision even under autocast, like `Recurrence`.

    Args:
        in_channels: Channels of a frame.
        hidden: Channels of the state of one direction.
        frame_size: H and W of a frame, which zero padding keeps.
        kernel: Side of the input and recurrent kernels; odd.
        peephole: One of `PEEPHOLES`.
        depth: Number of layers.
        bidirectional: Whether the sequence is also read backward.

    Raises:
        ValueError: The kernel is even, or the peephole is not in `PEEPHOLES`.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        *,
        frame_size: tuple[int, int],
        kernel: int = 3,
        peephole: str = "none",
        depth: int = 1,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {kernel}")
        if peephole not in PEEPHOLES:
            raise ValueError(f"peephole must be one of {', '.join(PEEPHOLES)}, got {peephole!r}")
        self.hidden, self.peephole, self.depth = hidden, peephole, depth
        self.suffixes = ("", "_reverse") if bidirectional else ("",)
        self.width = hidden * len(self.suffixes)
        for layer, suffix in itertools.product(range(depth), self.suffixes):
            channels = self.width if layer else in_channels
            shapes = {
                "weight_ih": (4 * hidden, channels, kernel, kernel),
                "weight_hh": (4 * hidden, hidden, kernel, kernel),
                "bias": (4 * hidden,),
            }
            if peephole != "none":
                shapes["peephole"] = (3, hidden, *frame_size)
            for name, shape in shapes.items():
                self.register_parameter(f"{name}_l{layer}{suffix}", nn.Parameter(torch.empty(shape)))
        # If the kernel covers the frame from every position, a matrix gives the same result without padding.
        self.taps = _taps(frame_size, kernel) if max(frame_size) <= kernel // 2 + 1 else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise kernels and biases as torch does for an LSTM, and peepholes with zeros."""
        bound = self.hidden**-0.5
        for name, weight in self.named_parameters():
            if name.startswith("peephole"):
                nn.init.zeros_(weight)
            else:
                nn.init.uniform_(weight, -bound, bound)

    def forward(self, frames_BLCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Call `scan`."""
        return self.scan(frames_BLCHW)

    def scan(self, frames_BLCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Read a sequence of frames (B, L, C, H, W).

        Returns:
            States of the last layer at every step (B, L, N, H, W), and its final states (B, N, H, W). The final states
            concatenate the forward state at the last step and the backward state at the first step.
        """
        sides = self._sides(frames_BLCHW)
        return torch.cat([torch.stack(states, dim=1) for states in sides], dim=2), _ends(sides)

    def final(self, frames_BLCHW: Tensor) -> Tensor:
        """Return only the final states of `scan`, (B, N, H, W)."""
        return _ends(self._sides(frames_BLCHW))

    def _sides(self, frames_BLCHW: Tensor) -> list[list[Tensor]]:
        """Return the states of the last layer, per direction and step."""
        sides: list[list[Tensor]] = []
        with full_precision(frames_BLCHW):
            frames_LBCHW = frames_BLCHW.to(self.get_parameter("bias_l0").dtype).transpose(0, 1)
            for layer in range(self.depth):
                if layer:
                    frames_LBCHW = torch.cat([torch.stack(states) for states in sides], dim=2)
                sides = [self._read(frames_LBCHW, f"_l{layer}{suffix}") for suffix in self.suffixes]
        return sides

    def _read(self, frames_LBCHW: Tensor, name: str) -> list[Tensor]:
        """Return the states (B, hidden, H, W) of one layer and direction, in the order of the frames."""
        w_x, w_h, bias = (self.get_parameter(f"{kind}{name}") for kind in ("weight_ih", "weight_hh", "bias"))
        peephole = None if self.peephole == "none" else self.get_parameter(f"peephole{name}")
        if self.taps is None or len(frames_LBCHW) == 1:  # building the matrices costs more than one step saves
            steps, gates = _by_convolution(frames_LBCHW, w_x, w_h, bias)
        else:
            steps, gates = _by_matrix(frames_LBCHW, w_x, w_h, bias, self.taps)
        _, num_frames, _, *size = frames_LBCHW.shape
        state = memory = frames_LBCHW.new_zeros(num_frames, self.hidden, *size)
        backward = name.endswith("_reverse")
        states = []
        for step in reversed(steps) if backward else steps:
            state, memory = _step(gates(step, state), memory, peephole, original=self.peephole == "original")
            states.append(state)
        return states[::-1] if backward else states


def _ends(sides: list[list[Tensor]]) -> Tensor:
    """Concatenate the forward direction's last state and the backward direction's first."""
    return torch.cat([states[-1 if side == 0 else 0] for side, states in enumerate(sides)], dim=1)


Gates = Callable[[Tensor, Tensor], Tensor]
"""Function from the input of a step and the previous state to the gates (B, 4 hidden, H, W)."""


def _by_convolution(frames_LBCHW: Tensor, w_x: Tensor, w_h: Tensor, bias: Tensor) -> tuple[Sequence[Tensor], Gates]:
    """Return the frames, and gates by one convolution over frame and state, which is faster on CPUs than two."""
    kernel = torch.cat((w_x, w_h), dim=1)

    def gates(frame_BCHW: Tensor, state_BNHW: Tensor) -> Tensor:
        return F.conv2d(torch.cat((frame_BCHW, state_BNHW), dim=1), kernel, bias, padding=w_x.shape[-1] // 2)

    return frames_LBCHW.unbind(0), gates


def _by_matrix(
    frames_LBCHW: Tensor, w_x: Tensor, w_h: Tensor, bias: Tensor, taps: list[int]
) -> tuple[Sequence[Tensor], Gates]:
    """Return the projected inputs of all steps, and gates by matrix products, which skip the padding."""
    num_steps, num_frames, _, height, width = frames_LBCHW.shape
    flat = frames_LBCHW.reshape(num_steps * num_frames, -1)
    inputs = torch.addmm(bias.repeat_interleave(height * width), flat, _matrix(w_x, taps))
    recurrent = _matrix(w_h, taps)

    def gates(inputs_BG: Tensor, state_BNHW: Tensor) -> Tensor:
        return torch.addmm(inputs_BG, state_BNHW.flatten(1), recurrent).view(num_frames, -1, height, width)

    return inputs.view(num_steps, num_frames, -1).unbind(0), gates


def _matrix(kernel_OCKK: Tensor, taps: list[int]) -> Tensor:
    """Return the matrix (C * H * W, O * H * W) that is equivalent to a padded convolution of the flattened frame."""
    num_out, num_in = kernel_OCKK.shape[:2]
    area = math.isqrt(len(taps))
    entries = kernel_OCKK.flatten(2).permute(2, 0, 1).contiguous().unbind(0)
    # Stacked instead of gathered: the gradient of a gather is not deterministic on GPUs.
    pairs = torch.stack([entries[tap] for tap in taps]).view(area, area, num_out, num_in)
    return pairs.permute(2, 0, 3, 1).reshape(num_out * area, num_in * area).T


def _step(gates: Tensor, memory: Tensor, peephole: Tensor | None, *, original: bool) -> tuple[Tensor, Tensor]:
    """Return state and memory after a step (Shi et al. 2015, eq. 3; in Yin et al. 2019, o reads the old memory)."""
    i, f, g, o = gates.chunk(4, dim=1)
    if peephole is not None:
        i, f = i + peephole[0] * memory, f + peephole[1] * memory
    old, memory = memory, torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    if peephole is not None:
        o = o + peephole[2] * (memory if original else old)
    return torch.sigmoid(o) * torch.tanh(memory), memory


def _taps(frame_size: tuple[int, int], kernel: int) -> list[int]:
    """Return the kernel entry that connects each pair of output and input position, in row-major order."""
    (height, width), reach = frame_size, kernel // 2
    positions = list(itertools.product(range(height), range(width)))
    return [(u - y + reach) * kernel + (v - x + reach) for y, x in positions for u, v in positions]
