# The first admin key, and the key of a model elsewhere, go to Key Vault.
$ErrorActionPreference = 'Stop'
python infra/hooks/vault.py
exit $LASTEXITCODE
