"""The HTTP server that Label Studio calls: its ML backend protocol over the tiers."""
