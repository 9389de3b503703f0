"""Stores, pools and transactions, driven through the interface."""
