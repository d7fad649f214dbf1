"""Automatic image and video colorization whose every model can be traced, verified and rebuilt."""

import os

__version__ = "0.1.0"

# Set before any of these libraries is imported; a user's own choice stands.
for _name, _value in {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A thread of torch that waits for another one sleeps: where it spins instead, it keeps the core
    # from the one that it waits for as soon as other processes want the cores, too.
    "OMP_WAIT_POLICY": "PASSIVE",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}.items():
    os.environ.setdefault(_name, _value)
