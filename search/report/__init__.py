"""A study as one page: what was asked, what came of it, and what may be said."""

from search.report.write import FILE_NAME, Report, write_report

__all__ = ["FILE_NAME", "Report", "write_report"]
