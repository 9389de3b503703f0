"""Running notebooks unattended: papermill over a selection, results, and judging them again."""
