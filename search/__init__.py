"""How the space is searched: studies, sweeps, repeats, verdicts and exports."""
