"""Netra isolation workbook."""
