"""Agents and tools, asked through conversations and called directly."""
