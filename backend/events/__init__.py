"""Webhook events of Label Studio, and their store."""
