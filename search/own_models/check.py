"""Check an own model before any trial: it builds, trains one batch, and its weights can be stored and loaded.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_models.objective import objective
from search.own_models.build import Logits, build_own, seeded
from search.own_models.errors import OwnCodeError, in_words
from search.own_models.loading import importable, load_function
from search.own_models.model import OwnModel

SEED = 1


def check_own(
    model: OwnModel, *, batch: int, label_smoothing: float, rnn_l2: float, class_weights: str = "none"
) -> frozenset[str]:
    """Check one point of an own model by training one batch of random images.

    Args:
        model: The point.
        batch: Number of images of the batch.
        label_smoothing: As in training.
        rnn_l2: As in training.
        class_weights: As in training.

    Returns:
        Names of the point that the factory did not read.

    Raises:
        OwnCodeError: With the place in the user's file, what was expected and what was found.
    """
    _check_signature(model)
    point = ReadPoint(dict(model.point))
    net = build_own(model, SEED, point)
    where = f"{model.parsed.module}: {model.parsed.function}"
    _check_stored(_state_of(net, where), where)
    _check_repeatable(model, net, where)
    generator = torch.Generator().manual_seed(SEED)
    images_BCHW = torch.randn(batch, model.input_channels, model.input_height, model.input_width, generator=generator)
    labels_B = torch.arange(batch) % model.num_classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        _train_once(model, net, images_BCHW, labels_B, where, label_smoothing=label_smoothing, rnn_l2=rnn_l2)
    _check_round_trip(model, net, images_BCHW, where)
    if callable(getattr(net, "loss", None)) and class_weights != "none":
        raise OwnCodeError(
            f"{where}: the module has its own loss, so train.class_weights has no effect; set it to none"
        )
    return frozenset(name for name, _ in model.point) - point.read


class ReadPoint(dict[str, Any]):
    """A point that remembers which of its names were read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return a value, or the default."""
        self.read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:  # noqa: ANN401
        """Remove a name and return its value."""
        self.read.add(name)
        return super().pop(name, *default)

    def popitem(self) -> Any:  # noqa: ANN401
        """Remove a name and return it with its value."""
        self.read |= set(super().keys())
        return super().popitem()

    def setdefault(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return a value after adding it unless it is there."""
        self.read.add(name)
        return super().setdefault(name, default)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:  # also for **point
        self.read |= set(super().keys())
        return super().__iter__()

    def keys(self) -> Any:  # noqa: ANN401
        """Return all names."""
        self.read |= set(super().keys())
        return super().keys()

    def values(self) -> Any:  # noqa: ANN401
        """Return all values."""
        self.read |= set(super().keys())
        return super().values()

    def items(self) -> Any:  # noqa: ANN401
        """Return all pairs."""
        self.read |= set(super().keys())
        return super().items()


def _check_signature(model: OwnModel) -> None:
    with importable(model), seeded(0):
        function = load_function(model)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built-in callables have none
        return
    try:
        signature.bind({}, num_classes=1, image_size=(1, 1))
    except TypeError:
        name = model.parsed.function
        code = getattr(inspect.unwrap(function), "__code__", None)
        line = f":{code.co_firstlineno}" if code is not None else ""
        raise OwnCodeError(
            f"{model.parsed.module}{line}: expected {name}(point, *, num_classes, image_size), found {name}{signature}"
        ) from None


def _state_of(net: nn.Module, where: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = net.state_dict()
    except Exception as error:
        raise OwnCodeError(in_words(error, f"{where}: state_dict")) from error
    return state


def _check_repeatable(model: OwnModel, net: nn.Module, where: str) -> None:
    """Check that the same seed gives the same weights, as a trial's key promises."""
    other = build_own(model, SEED).state_dict()
    state = net.state_dict()
    places = {weights.untyped_storage().data_ptr() for weights in other.values() if weights.numel()}
    for name, weights in state.items():
        if weights.numel() and weights.untyped_storage().data_ptr() in places:
            raise OwnCodeError(
                f"{where}: expected new weights in every model, found {name} shared between two; make it inside "
                f"{model.parsed.function}, or a trial would begin with what another one has learnt"
            )
    for name, weights in state.items():
        if name not in other or not torch.equal(weights, other[name]):
            raise OwnCodeError(
                f"{where}: expected the same weights from the same seed, found others in {name}; draw them from the "
                "global generator of torch, numpy.random or random"
            )


def _check_stored(state: Mapping[str, Any], where: str) -> None:
    from safetensors.torch import save

    places: dict[int, str] = {}
    for name, weights in state.items():
        if not isinstance(weights, Tensor):
            raise OwnCodeError(
                f"{where}: expected tensors in state_dict(), found {type(weights).__name__} for {name}; leave out "
                "get_extra_state"
            )
        if weights.is_floating_point() and not bool(weights.isfinite().all()):
            raise OwnCodeError(
                f"{where}: expected finite numbers in state_dict(), found others in {name}, and a trial with such "
                "numbers counts as diverged; register a mask with persistent=False"
            )
        if weights.numel() and (first := places.setdefault(weights.data_ptr(), name)) != name:
            raise OwnCodeError(
                f"{where}: expected separate weights in state_dict(), found {name} sharing those of {first}; store "
                "one of them under one name"
            )
    try:
        save({name: weights.detach().cpu().contiguous() for name, weights in state.items()})
    except Exception as error:
        raise OwnCodeError(
            f"{where}: the weights cannot be stored: {_first(error)}; store tensors that share no memory"
        ) from error


def _train_once(
    model: OwnModel,
    net: nn.Module,
    images_BCHW: Tensor,
    labels_B: Tensor,
    where: str,
    *,
    label_smoothing: float,
    rnn_l2: float,
) -> None:
    try:
        output = net.train()(images_BCHW)
    except Exception as error:
        raise OwnCodeError(in_words(error, f"{where}: forward of images {tuple(images_BCHW.shape)}")) from error
    _check_output(output, model, len(labels_B), f"{where}: forward")
    has_loss = callable(getattr(net, "loss", None))
    if has_loss and label_smoothing:
        raise OwnCodeError(f"{where}: the module has its own loss, so train.label_smoothing has no effect; set it to 0")
    try:
        loss, _ = objective(net, images_BCHW, labels_B, label_smoothing=label_smoothing, rnn_l2=rnn_l2)
    except Exception as error:
        raise OwnCodeError(in_words(error, f"{where}: loss")) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.dim():
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise OwnCodeError(f"{where}: loss: expected a scalar, found {shape}")
    if not bool(loss.isfinite()):
        raise OwnCodeError(f"{where}: expected a finite loss on random images, found {float(loss.detach()):g}")
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        raise OwnCodeError(in_words(error, f"{where}: backward")) from error
    trained = {name: weight for name, weight in net.named_parameters() if weight.grad is not None}
    if not trained:
        raise OwnCodeError(f"{where}: expected gradients, found none: the loss does not depend on any parameter")
    for name, weight in trained.items():
        if weight.grad is not None and not bool(weight.grad.isfinite().all()):
            raise OwnCodeError(f"{where}: expected finite gradients on random images, found others in {name}")
    with torch.no_grad():
        for weight in trained.values():
            assert weight.grad is not None
            weight.sub_(weight.grad, alpha=1e-3)


def _check_output(output: Any, model: OwnModel, batch: int, where: str) -> None:  # noqa: ANN401
    wanted = (batch, model.num_classes)
    logits, extra = output if isinstance(output, tuple) and len(output) == 2 else (output, None)
    if not isinstance(logits, Tensor):
        raise OwnCodeError(
            f"{where}: expected logits of shape {wanted}, or (logits, extra), found {type(output).__name__}"
        )
    if tuple(logits.shape) != wanted or not logits.is_floating_point():
        raise OwnCodeError(
            f"{where}: expected logits of shape {wanted}, found {str(logits.dtype).removeprefix('torch.')} of shape "
            f"{tuple(logits.shape)}"
        )
    if extra is not None and not (isinstance(extra, Tensor) and extra.numel() == 1 and extra.dim() == 0):
        found = f"a tensor of shape {tuple(extra.shape)}" if isinstance(extra, Tensor) else type(extra).__name__
        raise OwnCodeError(f"{where}: expected (logits, extra) with a scalar tensor extra, found {found}")


def _check_round_trip(model: OwnModel, net: nn.Module, images_BCHW: Tensor, where: str) -> None:
    """Check that a model built with another seed predicts the same with the stored weights, image by image."""
    other = build_own(model, SEED + 1)
    try:
        other.load_state_dict(net.state_dict())
    except RuntimeError as error:
        raise OwnCodeError(f"{where}: load_state_dict fails on the model's own weights: {_first(error)}") from None
    with torch.no_grad():
        try:
            one, two = (Logits(item.eval())(images_BCHW) for item in (net, other))
        except Exception as error:
            raise OwnCodeError(in_words(error, f"{where}: forward in evaluation mode")) from error
        _check_output(one, model, len(images_BCHW), f"{where}: forward in evaluation mode")
        try:
            alone = Logits(net)(images_BCHW[:1])
        except Exception as error:
            raise OwnCodeError(in_words(error, f"{where}: forward of one image")) from error
    _check_output(alone, model, 1, f"{where}: forward of one image")
    if not torch.allclose(one, two, rtol=1e-4, atol=1e-5):
        raise OwnCodeError(
            f"{where}: expected the same logits after state_dict() and load_state_dict(), found others; register "
            "buffers for what the model keeps, and use no random numbers in evaluation mode"
        )
    if not torch.allclose(one[:1], alone, rtol=1e-3, atol=1e-4):
        raise OwnCodeError(
            f"{where}: expected the logits of an image not to depend on the others of its batch in evaluation mode, "
            "found that they do"
        )


def _first(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
