"""Run every measurement and write its page; on a quiet machine, for half an hour."""

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
