"""Commands without a package of their own: plan, status --check, models, data, ui, demo."""
