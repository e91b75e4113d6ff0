"""Which parameters of a sweep mattered: arrays in, records out. Descriptions of the trials, not claims."""
