"""Speed and cost of the tiers on this machine, and which tier to use.

`measure` runs each runtime in its own process; `advice` relates speed to known scores and gives
recommendations; `report` formats both. It repeats the third experiment of the paper (arXiv
2504.00664, inference budget) with your own documents and machine.
"""
