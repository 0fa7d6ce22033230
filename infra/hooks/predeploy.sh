#!/bin/sh
# The package is built here, as the locks say, and not in Azure.
set -eu
make setup
hub=storage
[ -z "${PERDURE_DURABLE_TASK_SCHEDULER:-}" ] || hub=scheduler
exec .venv/bin/python .ci/package.py dist/perdure.zip --task-hub "$hub"
