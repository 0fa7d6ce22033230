// The task hub as a service. The hub is called as in host.json.

param name string
param location string
param tags object
param sku string
param capacity int
param zoneRedundant bool
param publicAccess bool

var dedicated = sku == 'Dedicated'

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: {
      name: sku
      // Three units are what a dedicated scheduler needs to be spread over zones.
      capacity: dedicated ? (zoneRedundant ? 3 : capacity) : null
    }
    // An empty list lets nobody in. Whoever gets this far still needs a role.
    ipAllowlist: ['0.0.0.0/0']
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
  }
}

resource taskHub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: 'PerdureHub'
}

output id string = scheduler.id
output name string = scheduler.name
output taskHubName string = taskHub.name
output endpoint string = scheduler.properties.endpoint
