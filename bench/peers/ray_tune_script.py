"""The same sweep as a plain script, written after the tutorials of the libraries.

It uses a Ray Tune function trainable, OptunaSearch, ASHAScheduler, MLflowLoggerCallback, and a DataLoader with
torchvision transforms. Models, points, split, batches and epochs are those of the study.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from hybrid_models.build import build
from search.data.store import default_cache_dir, open_data
from search.seeds import make_block
from search.study.bind import bind, load_facts
from search.study.config import StudyConfig
from search.study.load import load_study
from spaces.domains import Choice, Int
from spaces.space import Space


class Digits(Dataset[tuple[torch.Tensor, int]]):
    """Images in memory, each transformed when it is read."""

    def __init__(self, pixels: Any, labels: Any, mean: float, std: float) -> None:
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize([mean] * 3, [std] * 3)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pixels[index]), int(self.labels[index])


def train(config: dict[str, Any], study: StudyConfig) -> None:
    """Train one point and report each epoch."""
    block = make_block(study.seed, "sweep", 0)
    spec = bind(study, config, load_facts(study), (block,))
    data = open_data(study.data, default_cache_dir())
    rows, val_rows = data.divide(study.split, block.split_seed)
    pixels, labels = np.asarray(data.train.pixels), np.asarray(data.train.labels)
    mean, std = float(pixels[rows].mean()) / 255, float(pixels[rows].std()) / 255
    loader = DataLoader(Digits(pixels[rows], labels[rows], mean, std), batch_size=spec.train.batch, shuffle=True)
    val_loader = DataLoader(Digits(pixels[val_rows], labels[val_rows], mean, std), batch_size=spec.train.batch)
    model = build(spec.model, torch.Generator().manual_seed(block.init_seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.train.lr)
    for epoch in range(1, spec.train.epochs + 1):
        model.train()
        loss_sum = 0.0
        for images, truth in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), truth)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(truth)
        model.eval()
        num_right, val_loss = 0, 0.0
        with torch.no_grad():
            for images, truth in val_loader:
                logits = model(images)
                val_loss += torch.nn.functional.cross_entropy(logits, truth).item() * len(truth)
                num_right += int((logits.argmax(1) == truth).sum())
        tune.report(
            {
                "epoch": epoch,
                "train_loss": loss_sum / len(rows),
                "val_loss": val_loss / len(val_rows),
                "val_accuracy": num_right / len(val_rows),
            }
        )


class Define:
    """The search space as a define-by-run callable; a class, because the searcher is pickled."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def __call__(self, trial: Any) -> dict[str, Any]:
        def suggest(name: str, domain: Any) -> Any:
            match domain:
                case Choice(values=values):
                    return trial.suggest_categorical(name, list(values))
                case Int(low=low, high=high):
                    return trial.suggest_int(name, low, high)
                case _:
                    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)

        return dict(self.space.assemble(suggest))


def main(study_path: str, points_path: str, storage: str) -> None:
    """Run the sweep over given points, and print the elapsed seconds as one line of JSON."""
    import ray

    study = load_study(Path(study_path))
    points: list[dict[str, Any]] = json.loads(Path(points_path).read_text(encoding="utf-8"))
    free = list(study.build_space().free)
    space = study.build_space()

    start = time.perf_counter()
    ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ready = time.perf_counter()
    searcher = OptunaSearch(
        space=Define(space),
        metric="val_accuracy",
        mode="max",
        points_to_evaluate=[{name: point[name] for name in free if name in point} for point in points],
    )
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(train, study=study), {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=ASHAScheduler(
                time_attr="epoch",
                metric="val_accuracy",
                mode="max",
                grace_period=study.search.grace_epochs,
                max_t=study.train.epochs,
            ),
            num_samples=len(points),
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(
            storage_path=str(Path(storage).absolute()),
            callbacks=[
                MLflowLoggerCallback(
                    tracking_uri=f"sqlite:///{Path(storage).absolute()}/mlflow.db", experiment_name="peer"
                )
            ],
            verbose=0,
        ),
    )
    results = tuner.fit()
    end = time.perf_counter()
    num_epochs = sum(int(result.metrics.get("epoch", 0)) for result in results if result.metrics)
    print(json.dumps({"epochs": num_epochs, "start_secs": ready - start, "sweep_secs": end - ready}))


if __name__ == "__main__":
    main(*sys.argv[1:])
