"""Everything that imports Optuna: proposals, and the copy of the study for Optuna's tools."""
