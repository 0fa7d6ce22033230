# The package is built here, as the locks say, and not in Azure.
$ErrorActionPreference = 'Stop'
if (-not (Test-Path .venv)) { py -3.13 -m venv .venv }
.venv\Scripts\python -m pip install --quiet --require-hashes -r requirements.txt -r requirements-dev.txt
if ($LASTEXITCODE) { exit $LASTEXITCODE }
$hub = if ($env:PERDURE_DURABLE_TASK_SCHEDULER) { 'scheduler' } else { 'storage' }
.venv\Scripts\python .ci\package.py dist/perdure.zip --task-hub $hub
exit $LASTEXITCODE
