"""Everything that imports Optuna: the sampler, and the copy of the study for Optuna's tools."""
