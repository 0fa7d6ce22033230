"""A local Azure Functions host: ``python -m devhost [APP_DIR] --port 7071``.

It drives the worker library that Azure itself runs (``azure-functions-runtime``) inside this process, so a function
app needs no Core Tools and no change to run here. It is a tool for a developer's machine: it listens on loopback only
and refuses to be imported where Azure has deployed an app.
"""

import os

# Set by the platform on every deployed instance, and never on a laptop.
if "WEBSITE_INSTANCE_ID" in os.environ:
    raise ImportError("devhost is a development tool and must not be imported by a deployed function app")
