"""Encoders compiled for OpenVINO, which runs them faster than PyTorch on a CPU.

`library` imports OpenVINO and NNCF, which may be missing. `build` compiles a version, and `check`
refuses a model that predicts something else. `cache` keeps it, and `runner` runs it.
"""
