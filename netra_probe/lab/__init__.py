"""The embedded platform under investigation."""
