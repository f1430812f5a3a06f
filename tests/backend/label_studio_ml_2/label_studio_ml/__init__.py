"""What a model class may expect of label-studio-ml 2.x, and no more: its contract in small.

2.x is only in its repository (HumanSignal/label-studio-ml-backend), so no test can install it from
the package index. This says in our own words what its ``model.py``, ``api.py`` and ``response.py``
promised in August 2026, as strictly as they do.
"""
