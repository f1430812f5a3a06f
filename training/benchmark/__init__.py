"""What a tier costs on this machine, and so which one to use for what.

`timing` measures, each way to serve in a process of its own; `advice` sets that beside what is
found, and says what to do; `report` lays both out. The study's third experiment (arXiv 2504.00664,
inference budget), for one's own documents and machine.
"""
