"""The speed bench compares like with like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import analysis_speed


@pytest.mark.slow
def test_ours_and_the_peer_give_the_same_p_values_and_the_command_judges_all_pairs(tmp_path: Path) -> None:
    path = analysis_speed.store(tmp_path, 40)
    ours = analysis_speed.measure(analysis_speed.OURS, path, 3)
    peer = analysis_speed.measure(analysis_speed.PEER, path, 3)
    np.testing.assert_allclose(ours["p"], peer["p"], rtol=1e-6)
    whole = analysis_speed.measure(analysis_speed.WHOLE, path, 3)
    assert sum(whole["verdicts"].values()) == 3
    command = analysis_speed.measure(analysis_speed.COMMAND, path, analysis_speed.NUM_PAIRS)
    assert sum(command["verdicts"].values()) == analysis_speed.NUM_PAIRS
    assert min(item["peak_gib"] for item in (ours, peer, whole, command)) > 0.01
