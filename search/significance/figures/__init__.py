"""Figures of an analysis, as files (matplotlib) and for HTML pages (plotly); nothing is encoded by colour alone.

The functions only draw: they receive all numbers as arguments. Only `save_figures` writes files.
"""

from search.significance.figures.best_of import best_of_plot
from search.significance.figures.critical_difference import critical_difference_plot
from search.significance.figures.forest import forest_plot
from search.significance.figures.lines import planning_lines
from search.significance.figures.per_class import per_class_plot
from search.significance.figures.planning_curve import PlanningLine, planning_plot
from search.significance.figures.save import save_figures
from search.significance.figures.slopes import slope_plot
from search.significance.figures.superiority import superiority_matrix

__all__ = [
    "PlanningLine",
    "best_of_plot",
    "critical_difference_plot",
    "forest_plot",
    "per_class_plot",
    "planning_lines",
    "planning_plot",
    "save_figures",
    "slope_plot",
    "superiority_matrix",
]
