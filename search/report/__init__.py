"""The report of a study as one HTML page, and the overview that `status` prints."""

from search.report.write import FILE_NAME, Report, write_report

__all__ = ["FILE_NAME", "Report", "write_report"]
