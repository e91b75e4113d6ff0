"""What the small commands do: plan, status, check, models, data, ui, demo."""
