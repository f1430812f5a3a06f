"""A small copy of the interface of label-studio-ml 2.x.

2.x is only in its repository (HumanSignal/label-studio-ml-backend), so no test can install it from
the package index. This copy has the interfaces of its ``model.py``, ``api.py`` and
``response.py`` of August 2026, and is as strict.
"""
