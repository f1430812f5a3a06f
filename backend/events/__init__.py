"""Webhook events, and their store."""
