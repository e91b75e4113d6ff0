"""A study as one page: what was asked, what came of it, and what may be said."""
