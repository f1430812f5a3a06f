"""The tiers, their model versions, the server, and the formats of Label Studio."""
