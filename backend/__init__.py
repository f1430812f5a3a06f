"""What is served: tiers, their model versions, and the formats of Label Studio."""
