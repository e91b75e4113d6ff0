"""Cells against readable loops, in output and gradient."""

import pytest
import torch

from hybrid_models.layers.recurrent import CELLS, Recurrence


def step(cell, gates_x, gates_h, state, memory):
    """One step as the textbook writes it."""
    if cell == "lstm":
        i, f, g, o = (gates_x + gates_h).chunk(4, dim=1)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(memory), memory
    if cell == "gru":
        (rx, zx, nx), (rh, zh, nh) = gates_x.chunk(3, dim=1), gates_h.chunk(3, dim=1)
        update = torch.sigmoid(zx + zh)
        return (1 - update) * torch.tanh(nx + torch.sigmoid(rx + rh) * nh) + update * state, memory
    return (torch.relu if cell == "irnn" else torch.tanh)(gates_x + gates_h), memory


def loop(recurrence, tokens):
    """Read (B, L, F) step by step, layer by layer."""
    weights = dict(recurrence.layers.named_parameters())
    kind = recurrence.cell.removeprefix("bi")
    nodes = recurrence.layers.hidden_size
    for layer in range(recurrence.layers.num_layers):
        sides, finals = [], []
        for suffix in ["", "_reverse"][: recurrence.num_directions]:
            w_x, w_h, b_x, b_h = (
                weights[f"{name}_l{layer}{suffix}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            state = memory = tokens.new_zeros(len(tokens), nodes)
            order = range(tokens.shape[1])
            states = {}
            for position in reversed(order) if suffix else order:
                gates_x, gates_h = tokens[:, position] @ w_x.T + b_x, state @ w_h.T + b_h
                state, memory = step(kind, gates_x, gates_h, state, memory)
                states[position] = state
            sides.append(torch.stack([states[position] for position in order], dim=1))
            finals.append(state)
        tokens = torch.cat(sides, dim=2)
    return tokens, torch.cat(finals, dim=1)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_matches_the_loop(cell, depth):
    torch.manual_seed(1)
    recurrence = Recurrence(cell, in_features=3, nodes=4, depth=depth).double()
    tokens = torch.randn(5, 7, 3, dtype=torch.float64, requires_grad=True)
    found, expected = recurrence.scan(tokens), loop(recurrence, tokens)
    weights = [torch.randn_like(values) for values in expected]
    inputs = [tokens, *recurrence.parameters()]
    results = []
    for pair in (found, expected):
        loss = sum((values * weight).sum() for values, weight in zip(pair, weights, strict=True))
        results.append(torch.autograd.grad(loss, inputs, retain_graph=True))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-8)


def test_float32_lstm_matches_the_loop():
    # On CPU float32 takes another kernel than float64.
    torch.manual_seed(2)
    recurrence = Recurrence("bilstm", in_features=1, nodes=16, depth=1)
    tokens = torch.randn(4, 64, 1)
    torch.testing.assert_close(recurrence.scan(tokens), loop(recurrence, tokens), rtol=1e-4, atol=1e-5)


def test_last_state_joins_both_ends():
    states, final = Recurrence("bigru", in_features=2, nodes=3, depth=2)(torch.randn(4, 6, 2))
    torch.testing.assert_close(final, torch.cat((states[:, -1, :3], states[:, 0, 3:]), dim=1))
