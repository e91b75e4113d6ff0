"""Build one HTML page about a study: what was asked, what was found, and what may be claimed."""
