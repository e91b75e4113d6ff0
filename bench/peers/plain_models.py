"""Every preset in plain PyTorch: torch layers in sequence, default memory format, no configuration.

`make(name)` returns a module, `loss(module, images, labels)` its training loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

CELLS = {"lstm": nn.LSTM, "bilstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN, "irnn": nn.RNN}


def rnn(cell, features, nodes, depth=1, bidirectional=False):
    options = {"nonlinearity": "relu"} if cell == "irnn" else {}
    return CELLS[cell](features, nodes, depth, batch_first=True, bidirectional=bidirectional, **options)


def last(layer, tokens):
    """Return the final states of the last layer, both directions concatenated."""
    _, state = layer(tokens)
    state = state[0] if isinstance(state, tuple) else state
    directions = 2 if layer.bidirectional else 1
    return torch.cat(list(state[-directions:]), dim=1)


def convolutions(*widths, channels=3, bn=False, drop=0.0):
    """Return 3x3 convolutions with ReLU; "M" stands for max pooling."""
    layers = []
    for width in widths:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            if drop:
                layers.append(nn.Dropout(drop))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        if bn:
            layers.append(nn.BatchNorm2d(width))
        channels = width
    return nn.Sequential(*layers)


def cnn6(bn):
    return convolutions(32, 64, "M", 128, 128, "M", 256, 256, "M", bn=bn)


class Flatten(nn.Module):
    """Flatten in (h, w, c) order, as in Keras."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class Pool(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


class Last(nn.Module):
    """The final states of an RNN."""

    def __init__(self, layer, steps):
        super().__init__()
        self.layer, self.steps = layer, steps

    def forward(self, x):
        return last(self.layer, self.steps(x))


def positions(x):
    return x.flatten(2).transpose(1, 2)


def ecrnn(kind):
    parts = [convolutions(32, "M", 64, "M", 128, "M", 256, "M", bn=True), Flatten()]
    if kind == "cnn":
        return nn.Sequential(*parts, nn.Linear(1024, 10))
    family, cell, nodes, *more = kind.split("-")
    if family == "ecrnn":
        for before, after in ((1024, 512), (512, 256), (256, 512), (512, 1024)):
            parts += [nn.Linear(before, after), nn.ReLU(), nn.BatchNorm1d(after)]
    nodes, two_ways = int(nodes), cell == "bilstm"
    layer = rnn(cell, 1, nodes, 1 + len(more), bidirectional=two_ways)
    return nn.Sequential(*parts, Last(layer, lambda x: x.unsqueeze(2)), nn.Linear(nodes * (1 + two_ways), 10))


class ConvLSTM(nn.Module):
    """One direction of a ConvLSTM, with one convolution over frame and state per step."""

    def __init__(self, channels, hidden, frame, peephole):
        super().__init__()
        self.hidden = hidden
        self.conv = nn.Conv2d(channels + hidden, 4 * hidden, 3, padding=1)
        self.peephole = nn.Parameter(torch.zeros(3, hidden, frame, frame)) if peephole else None

    def forward(self, frames):
        h = c = frames.new_zeros(len(frames), self.hidden, *frames.shape[3:])
        for x in frames.unbind(1):
            i, f, g, o = self.conv(torch.cat((x, h), dim=1)).chunk(4, dim=1)
            if self.peephole is not None:
                i, f, o = (gate + weight * c for gate, weight in zip((i, f, o), self.peephole, strict=True))
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


class PatchRNN(nn.Module):
    """A bidirectional RNN along each column of 2x2 patches, with batch normalisation."""

    def __init__(self, cell, channels, width):
        super().__init__()
        self.columns = width // 2
        self.is_conv = cell.startswith("convlstm")
        if self.is_conv:
            peephole = cell != "convlstm"
            self.down, self.up = ConvLSTM(channels, 16, 2, peephole), ConvLSTM(channels, 16, 2, peephole)
        else:
            self.rnn = rnn(cell, 4 * channels, 64, bidirectional=True)
        self.norm = nn.BatchNorm1d(self.columns * 128)

    def forward(self, x):
        patches = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 3, 2, 4, 5, 1)  # column, row, h, w, c
        columns = patches.reshape(-1, *patches.shape[2:])
        if self.is_conv:
            frames = columns.permute(0, 1, 4, 2, 3)
            state = torch.cat((self.down(frames), self.up(frames.flip(1))), dim=1).permute(0, 2, 3, 1)
        else:
            state = last(self.rnn, columns.flatten(2))
        return self.norm(state.reshape(len(x), -1))


class Residual(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.stride, self.new = (1 if before == after else 2), after - before
        self.conv1 = nn.Conv2d(before, after, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x):
        way = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + way)


def stages(backbone):
    """Return the tapped parts of a backbone, the shapes of their maps, and the remaining layers."""
    if backbone == "cnn":
        parts = [convolutions(32, 32, "M", drop=0.25), convolutions(64, 64, "M", channels=32, drop=0.25)]
        shapes, pool, head = [(32, 16, 16), (64, 8, 8)], Flatten(), (512,)
    elif backbone == "vgg9":
        parts = [
            convolutions(64, "M"),
            convolutions(128, "M", channels=64),
            convolutions(256, 256, "M", channels=128),
            convolutions(512, 512, channels=256),
        ]
        shapes, pool, head = [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 4, 4)], Flatten(), (512, 512)
    else:
        stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        parts = [nn.Sequential(stem, *(Residual(16, 16) for _ in range(3)))]
        parts += [
            nn.Sequential(Residual(before, after), *(Residual(after, after) for _ in range(2)))
            for before, after in ((16, 32), (32, 64))
        ]
        shapes, pool, head = [(16, 32, 32), (32, 16, 16), (64, 8, 8)], Pool(), ()
    return parts, shapes, pool, head


class Yin(nn.Module):
    def __init__(self, backbone, cell=None):
        super().__init__()
        parts, shapes, self.pool, head = stages(backbone)
        self.parts = nn.ModuleList(parts)
        self.taps = nn.ModuleList(PatchRNN(cell, channels, width) for channels, _, width in shapes) if cell else None
        channels, height, width = shapes[-1]
        features = channels * (height * width if head else 1)
        features += sum(128 * width // 2 for _, _, width in shapes) if cell else 0
        layers = []
        for after in head:
            layers += [nn.Linear(features, after), nn.ReLU()]
            if backbone == "cnn":
                layers.append(nn.Dropout(0.5))
            features = after
        self.head = nn.Sequential(*layers, nn.Linear(features, 10))

    def forward(self, x):
        read = []
        for index, part in enumerate(self.parts):
            x = part(x)
            if self.taps is not None:
                read.append(self.taps[index](x))
        return self.head(torch.cat((self.pool(x), *read), dim=1))


class LRCN(nn.Module):
    """A classifier that averages the softmax of every step."""

    def __init__(self):
        super().__init__()
        self.cnn, self.rnn = cnn6(bn=True), rnn("lstm", 256, 256)
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(256, 10)

    def forward(self, x):
        states, _ = self.rnn(positions(self.cnn(x)))
        return self.out(self.drop(states)).softmax(dim=2).mean(dim=1).log()


class TSN(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(cnn6(bn=True), Pool(), nn.Dropout(0.5), nn.Linear(256, 10))

    def forward(self, x):
        strips = torch.stack([x[:, :, i : i + 16] for i in (0, 8, 16)], dim=1)
        return self.net(strips.flatten(0, 1)).view(len(x), 3, 10).mean(dim=1)


def johnson(kind):
    if kind == "cnn":
        return nn.Sequential(
            cnn6(bn=True), Flatten(), nn.Linear(4096, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 10)
        )
    if kind == "rnn":
        rows = Last(rnn("lstm", 96, 128), lambda x: x.permute(0, 2, 3, 1).flatten(2))
        return nn.Sequential(rows, nn.Dropout(0.5), nn.Linear(128, 10))
    if kind in ("lrcn", "tsn"):
        return LRCN() if kind == "lrcn" else TSN()
    number, nodes = (6, 128) if kind == "proposed" else map(int, kind.removeprefix("sensitivity-conv").split("-gru"))
    widths = (32, 64, "M", 128, 128, "M", 256, 256, "M", 256, 256, "M")[: number * 3 // 2]
    cnn = convolutions(*widths, bn=True)
    channels = widths[-2]
    return nn.Sequential(cnn, Last(rnn("gru", channels, nodes), positions), nn.Dropout(0.5), nn.Linear(nodes, 10))


class Skip(nn.Module):
    def __init__(self, reader, width):
        super().__init__()
        self.reader, self.branch = reader, nn.Linear(4096, width)
        self.flatten = Flatten()

    def forward(self, x):
        return self.reader(x) + F.relu(self.branch(self.flatten(x)))


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        down, up = [], []
        for before, after in ((3, 12), (12, 24), (24, 48)):
            down += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
            up = [nn.ConvTranspose2d(after, before, 4, 2, 1), nn.ReLU(), *up]
        self.down, self.up = nn.Sequential(*down), nn.Sequential(*up[:-1])
        self.out = nn.Sequential(Flatten(), nn.Linear(768, 10))

    def forward(self, x):
        code = self.down(x)
        return self.out(code), self.up(code)


def yilmaz(kind):
    if kind == "autoencoder":
        return Autoencoder()
    if kind == "cnn":
        reader, width = Flatten(), 4096
    elif "positions" in kind:
        reader, width = Last(rnn("lstm", 256, 256), positions), 256
    else:
        reader, width = Last(rnn("lstm", 4096, 256), lambda x: x.permute(0, 2, 3, 1).flatten(1).unsqueeze(1)), 256
    if "skip" in kind:
        reader = Skip(reader, width)
    head = [nn.Linear(width, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(cnn6(bn=False), reader, *head)


def make(name):
    """Return the plain model of a preset."""
    paper, kind = name.split("/")
    if paper == "yin":
        return Yin(*kind.split("+"))
    return {"ecrnn": ecrnn, "johnson": johnson, "yilmaz": yilmaz}[paper](kind)


def loss(model, images, labels):
    """Return the training loss of the paper."""
    out = model(images)
    if isinstance(out, tuple):
        return 0.5 * F.mse_loss(out[1], images) + 0.5 * F.cross_entropy(out[0], labels)
    return F.nll_loss(out, labels) if isinstance(model, LRCN) else F.cross_entropy(out, labels)
