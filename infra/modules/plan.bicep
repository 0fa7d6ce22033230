// Flex Consumption: scales to zero, reaches private networks, and stops paying when orchestrations sleep.

param name string
param location string
param tags object
param zoneRedundant bool

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

output id string = plan.id
