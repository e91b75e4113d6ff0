"""Run every benchmark and write its page. Takes half an hour on an otherwise idle machine."""

from __future__ import annotations

from bench import analysis_speed, calibration, data_memory, decoding, models, orchestration, resume, throughput

if __name__ == "__main__":
    orchestration.main()
    throughput.main()
    resume.main([])
    data_memory.main()
    decoding.main()
    models.main()
    analysis_speed.main()
    calibration.main()
