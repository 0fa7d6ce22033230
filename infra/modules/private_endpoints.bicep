// A private endpoint and a DNS zone for everything the app talks to, and for the app itself when its API is private.

param location string
param tags object
param token string
param networkId string
param subnetId string
param storageId string
param cosmosId string
param keyVaultId string
@description('Empty: no Azure OpenAI.')
param openAiId string
@description('Empty: no scheduler.')
param schedulerId string
@description('Empty: the API stays public.')
param functionAppId string

var storageSuffix = environment().suffixes.storage

var always = [
  { name: 'blob', group: 'blob', id: storageId, zone: 'privatelink.blob.${storageSuffix}' }
  { name: 'queue', group: 'queue', id: storageId, zone: 'privatelink.queue.${storageSuffix}' }
  { name: 'table', group: 'table', id: storageId, zone: 'privatelink.table.${storageSuffix}' }
  { name: 'cosmos', group: 'Sql', id: cosmosId, zone: 'privatelink.documents.azure.com' }
  { name: 'vault', group: 'vault', id: keyVaultId, zone: 'privatelink.vaultcore.azure.net' }
]
var model = [{ name: 'openai', group: 'account', id: openAiId, zone: 'privatelink.openai.azure.com' }]
var hub = [{ name: 'scheduler', group: 'scheduler', id: schedulerId, zone: 'privatelink.durabletask.io' }]
var api = [{ name: 'api', group: 'sites', id: functionAppId, zone: 'privatelink.azurewebsites.net' }]

var optional = concat(empty(openAiId) ? [] : model, empty(schedulerId) ? [] : hub, empty(functionAppId) ? [] : api)
var targets = concat(always, optional)

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [for target in targets: {
  name: target.zone
  location: 'global'
  tags: tags
}]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (target, i) in targets: {
  parent: zone[i]
  name: 'link-${token}'
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: { id: networkId }
  }
}]

resource endpoint 'Microsoft.Network/privateEndpoints@2024-05-01' = [for target in targets: {
  name: 'pe-${target.name}-${token}'
  location: location
  tags: tags
  properties: {
    subnet: { id: subnetId }
    privateLinkServiceConnections: [
      {
        name: target.name
        properties: {
          privateLinkServiceId: target.id
          groupIds: [target.group]
        }
      }
    ]
  }
}]

resource zoneGroup 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [for (target, i) in targets: {
  parent: endpoint[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: target.name
        properties: { privateDnsZoneId: zone[i].id }
      }
    ]
  }
}]
