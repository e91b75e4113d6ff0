"""Run every measurement and write its page; on a quiet machine, for a quarter of an hour."""

from __future__ import annotations

from bench import data_memory, decoding, models, orchestration, throughput

if __name__ == "__main__":
    orchestration.main()
    throughput.main()
    data_memory.main()
    decoding.main()
    models.main()
