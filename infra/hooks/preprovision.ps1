# In a virtual network Flex Consumption needs a resource provider that nothing in the template brings along.
$ErrorActionPreference = 'Stop'
if ($env:PERDURE_PRIVATE_NETWORK -ne 'true') { exit 0 }
$subscription = if ($env:AZURE_SUBSCRIPTION_ID) { @('--subscription', $env:AZURE_SUBSCRIPTION_ID) } else { @() }
az provider register --namespace Microsoft.App --wait @subscription
exit $LASTEXITCODE
