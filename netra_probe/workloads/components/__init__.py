"""The platform's classes in this process."""
