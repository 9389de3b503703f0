"""What a security reviewer would try, beside leaks."""
