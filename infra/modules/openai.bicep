// Azure OpenAI with its deployments. A deployment is called like its model, so that an agent file can name either.

param name string
param location string
param tags object
param publicAccess bool
param sku string
param chatModel string
param chatModelVersion string
param chatCapacity int
param embeddingModel string
param embeddingModelVersion string
param embeddingCapacity int

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: { name: 'S0' }
  properties: {
    // Microsoft Entra ID needs an address of the account's own.
    customSubDomainName: name
    disableLocalAuth: true
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    networkAcls: { defaultAction: publicAccess ? 'Allow' : 'Deny' }
  }
}

resource chat 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = {
  parent: account
  name: chatModel
  sku: {
    name: sku
    capacity: chatCapacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: chatModel
      version: chatModelVersion
    }
    // A task is frozen with the model it was submitted to; a new version is a decision, not an event.
    versionUpgradeOption: 'OnceCurrentVersionExpired'
  }
}

resource embedding 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = if (!empty(embeddingModel)) {
  parent: account
  // A name must be one even where the condition says that there is nothing.
  name: empty(embeddingModel) ? 'none' : embeddingModel
  // An account takes one change at a time.
  dependsOn: [chat]
  sku: {
    name: sku
    capacity: embeddingCapacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: embeddingModel
      version: embeddingModelVersion
    }
    // Vectors of two versions cannot be compared.
    versionUpgradeOption: 'NoAutoUpgrade'
  }
}

output id string = account.id
output name string = account.name
output endpoint string = account.properties.endpoint
