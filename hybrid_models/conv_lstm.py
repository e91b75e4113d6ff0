"""ConvLSTM: an LSTM whose state is a map and whose transformations are convolutions (Shi et al. 2015).

Shapes: B batch, L steps, C channels of a frame, O output channels of a kernel, K its side, H height, W width,
N channels of a state (hidden, twice that in two directions). Gates are i, f, g, o in torch's order.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_models.precision import full_precision

PEEPHOLES = ("none", "printed", "original")
"""`none`: Keras. `original`: o sees the new memory (Shi et al. 2015). `printed`: o sees the old (Yin et al. 2019)."""


class ConvLSTM(nn.Module):
    """ConvLSTM layers, each reading the whole sequence of the one below from zero states.

    Parameters are named as in `nn.LSTM`, with one bias per gate: `weight_ih_l0` (4 hidden, C, K, K), `weight_hh_l0`
    (4 hidden, hidden, K, K), `bias_l0` (4 hidden), `peephole_l0` (3, hidden, H, W) for i, f and o; those of the
    backward direction end in `_reverse`. Runs in its parameters' precision even under autocast, like `Recurrence`.

    Args:
        in_channels: Channels of a frame.
        hidden: Channels of one direction's state.
        frame_size: H and W, kept by zero padding.
        kernel: Side of both kernels; odd.
        peephole: One of `PEEPHOLES`.
        depth: Number of layers.
        bidirectional: Whether the sequence is read from both ends.

    Raises:
        ValueError: The kernel is even, or the peephole is none of `PEEPHOLES`.
    """

    taps: Tensor | None

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
        self.hidden, self.peephole, self.depth, self.padding = hidden, peephole, depth, kernel // 2
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
        # On a frame no larger than the kernel, padding costs more multiplications than a dense matrix has.
        small = frame_size[0] * frame_size[1] <= kernel**2
        self.register_buffer("taps", _taps(frame_size, kernel) if small else None, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw kernels and biases as torch draws an LSTM's; peepholes are zero."""
        bound = self.hidden**-0.5
        for name, weight in self.named_parameters():
            if name.startswith("peephole"):
                nn.init.zeros_(weight)
            else:
                nn.init.uniform_(weight, -bound, bound)

    def forward(self, frames_BLCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Same as `scan`."""
        return self.scan(frames_BLCHW)

    def scan(self, frames_BLCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Read a sequence of frames (B, L, C, H, W).

        Returns:
            States of the last layer at every step (B, L, N, H, W), and its final states (B, N, H, W): the forward
            direction's after the last step beside the backward direction's after the first.
        """
        with full_precision(frames_BLCHW):
            frames_LBCHW = frames_BLCHW.to(next(self.parameters()).dtype).transpose(0, 1)
            for layer in range(self.depth):
                sides = [self._read(frames_LBCHW, f"_l{layer}{suffix}") for suffix in self.suffixes]
                frames_LBCHW = torch.cat([torch.stack(states) for states in sides], dim=2)
            final_BNHW = torch.cat([states[-1 if i == 0 else 0] for i, states in enumerate(sides)], dim=1)
        return frames_LBCHW.transpose(0, 1), final_BNHW

    def _read(self, frames_LBCHW: Tensor, name: str) -> list[Tensor]:
        """States (B, hidden, H, W) of one layer and direction, in the order of the frames."""
        backward = name.endswith("_reverse")
        weights = {key.removesuffix(name): weight for key, weight in self.named_parameters() if key.endswith(name)}
        num_steps, num_frames = frames_LBCHW.shape[:2]
        kernel = self._prepare(weights["weight_hh"])
        # One call for all steps; one per direction, as the channels of both together would outgrow the cache.
        inputs = self._convolve(
            frames_LBCHW.flatten(0, 1), self._prepare(weights["weight_ih"]), weights["bias"].view(-1, 1, 1)
        )
        steps = inputs.view(num_steps, num_frames, *inputs.shape[1:]).unbind(0)
        memory = inputs.new_zeros(num_frames, self.hidden, *inputs.shape[2:])
        # The first state is zero. Convolved nevertheless where no second step gives its kernel a gradient.
        state = None if num_steps > 1 else memory
        states = []
        for gates in steps[::-1] if backward else steps:
            if state is not None:
                gates = self._convolve(state, kernel, gates)
            state, memory = _step(gates, memory, weights.get("peephole"), original=self.peephole == "original")
            states.append(state)
        return states[::-1] if backward else states

    def _prepare(self, kernel_OCKK: Tensor) -> Tensor:
        """Kernel as `_convolve` takes it: as a matrix (C * H * W, O * H * W) where frames are small."""
        if self.taps is None:
            return kernel_OCKK
        area = math.isqrt(self.taps.shape[1])
        num_out, num_in = kernel_OCKK.shape[:2]
        entries = (kernel_OCKK.flatten(2) @ self.taps).view(num_out, num_in, area, area)
        return entries.transpose(1, 2).reshape(num_out * area, num_in * area).T

    def _convolve(self, frames_BCHW: Tensor, kernel: Tensor, added: Tensor) -> Tensor:
        """Same-padded convolution plus `added`, which is (O, 1, 1) or (B, O, H, W)."""
        if self.taps is None:
            return F.conv2d(frames_BCHW, kernel, padding=self.padding) + added
        frame_size = frames_BCHW.shape[-2:]
        flat = added.expand(*added.shape[:-2], *frame_size).flatten(-3)
        return torch.addmm(flat, frames_BCHW.flatten(1), kernel).view(frames_BCHW.shape[0], -1, *frame_size)


def _step(gates: Tensor, memory: Tensor, peephole: Tensor | None, *, original: bool) -> tuple[Tensor, Tensor]:
    """State and memory after a step. Reference: Shi et al. 2015, eq. 3; Yin et al. 2019 print o on the old memory."""
    i, f, g, o = gates.chunk(4, dim=1)
    if peephole is not None:
        i, f = i + peephole[0] * memory, f + peephole[1] * memory
    old, memory = memory, torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
    if peephole is not None:
        o = o + peephole[2] * (memory if original else old)
    return torch.sigmoid(o) * torch.tanh(memory), memory


def _taps(frame_size: tuple[int, int], kernel: int) -> Tensor:
    """Which kernel entry joins which output position to which input position: 0 or 1, (K * K, H * W * H * W)."""
    area = frame_size[0] * frame_size[1]
    unit_frames = torch.eye(area).view(area, 1, *frame_size)
    unit_kernels = torch.eye(kernel**2).view(-1, 1, kernel, kernel)
    joined = F.conv2d(unit_frames, unit_kernels, padding=kernel // 2)  # input position, entry, output position
    return joined.flatten(2).permute(1, 2, 0).flatten(1)
