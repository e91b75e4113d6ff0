"""How the model card says to use an exported model without this package. The lines are tested as they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.export.image_classifier import METADATA
from search.study.folder import write_atomically
from search.text.printable import printable

PORT = 5001
_VERSION = "VERSION"
_TO_FILL = f"/{_VERSION} --env-manager"


def to_usage(model: Mapping[str, Any], *, onnx: bool, study: str, tracking_uri: str | None) -> str:
    """Return the section of the model card about torch, ONNX, MLflow and HTTP.

    Args:
        model: The facts of the model in evidence.json.
        onnx: Whether the folder contains the ONNX form of the program.
        study: Name of the study, under which the model is registered.
        tracking_uri: Address of MLflow without secrets; None: the model is not registered.
    """
    parts = [TORCH.format(image=_image(model), metadata=METADATA)]
    if onnx:
        parts.append(ONNX.format(image=_image(model), metadata=METADATA))
    if tracking_uri is not None:
        parts.append(SERVE.format(uri=shlex.quote(printable(tracking_uri)), name=study, version=_VERSION, port=PORT))
    return "\n".join(parts)


def fill_version(folder: Path, version: int) -> None:
    """Write the number of the registered version into the model card of an export."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8")
    write_atomically(path, text.replace(_TO_FILL, f"/{version} --env-manager").replace(_ABOUT_VERSION, ""))


def _image(model: Mapping[str, Any]) -> str:
    """Return the expression that reads a file as `predict` does."""
    height, width, side = model["height"], model["width"], model["squeezed_to"]
    size = (side, side) if side else (width, height)
    opened = f'PIL.Image.open("photo.jpg").convert("RGB").resize({size}, PIL.Image.Resampling.BILINEAR)'
    if not side:
        return opened
    left, top = (side - width) // 2, (side - height) // 2
    return f"{opened}.crop({(left, top, left + width, top + height)})"


TORCH = """### torch

```python
import json, numpy, torch, PIL.Image
metadata = {{"{metadata}": ""}}
program = torch.export.load("model.pt2", extra_files=metadata).module()
image = {image}
probabilities = program(torch.from_numpy(numpy.array(image)[None]))[0].tolist()
print(max(zip(probabilities, json.loads(metadata["{metadata}"])["classes"])))
```
"""
ONNX = """### ONNX Runtime

```python
import json, numpy, onnxruntime, PIL.Image
session = onnxruntime.InferenceSession("model.onnx")
classes = json.loads(session.get_modelmeta().custom_metadata_map["{metadata}"])["classes"]
image = {image}
(probabilities,) = session.run(None, {{"images": numpy.array(image)[None]}})
print(max(zip(probabilities[0].tolist(), classes)))
```
"""
_ABOUT_VERSION = f" `{_VERSION}` is the number that `export` prints when the model is registered."
SERVE = f"""### MLflow and HTTP

```sh
export MLFLOW_TRACKING_URI={{uri}}
mlflow models serve --model-uri models:/{{name}}/{{version}} --env-manager local --port {{port}}
```

The registered model receives images of any size and returns a table: `label`, `probability`, and `P(class)` for each
class. `--env-manager uv` installs what it needs in an environment of its own.{_ABOUT_VERSION} In another terminal:

```sh
python -c '
import json, numpy, PIL.Image
print(json.dumps({{{{"inputs": numpy.array(PIL.Image.open("photo.jpg").convert("RGB"))[None].tolist()}}}}))' |
curl --silent http://127.0.0.1:{{port}}/invocations --header 'Content-Type: application/json' --data @-
```
"""
