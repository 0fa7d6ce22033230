#!/bin/sh
# In a virtual network Flex Consumption needs a resource provider that nothing in the template brings along.
set -eu
[ "${PERDURE_PRIVATE_NETWORK:-}" = true ] || exit 0
exec az provider register --namespace Microsoft.App --wait ${AZURE_SUBSCRIPTION_ID:+--subscription "$AZURE_SUBSCRIPTION_ID"}
