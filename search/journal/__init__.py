"""The journal, the only store that a study is resumed from, and everything derived from it."""
