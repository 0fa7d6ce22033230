// The app: where it runs, as whom, and what it is told.

param name string
param location string
param tags object
param planId string
param identityId string
param identityClientId string
param storageName string
param deploymentContainer string
param applicationInsightsName string
@description('Empty: no virtual network.')
param subnetId string
param publicAccess bool
param zoneRedundant bool
param alwaysReadyDurable int
param alwaysReadyHttp int
param instanceMemoryMB int
param maximumInstanceCount int
param keyVaultUri string
param cosmosEndpoint string
param cosmosDatabase string
@description('Empty: another endpoint, with a key from Key Vault.')
param azureOpenAiEndpoint string
param openAiBaseUrl string
param chatModel string
param embeddingModel string
param embeddingDimensions int
@description('Empty: the task hub is in Azure Storage.')
param schedulerEndpoint string
@description('Empty: no gateway in front.')
param publicUrl string
param settings object

resource storage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

// What the host and the Azure SDKs read. Flex Consumption takes runtime, scale and deployment from functionAppConfig.
var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
  APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AZURE_CLIENT_ID: identityClientId
  PYTHON_ENABLE_INIT_INDEXING: '1'
  PYTHON_ENABLE_OPENTELEMETRY: 'true'
  PYTHON_ISOLATE_WORKER_DEPENDENCIES: '1'
}

var schedulerSettings = empty(schedulerEndpoint) ? {} : {
  DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${schedulerEndpoint};Authentication=ManagedIdentity;ClientID=${identityClientId}'
}

// What the app reads: perdure/settings.py. Everything else there has a default, which `settings` can change.
var agentSettings = {
  PERDURE_STATE: 'cosmos'
  COSMOS_ENDPOINT: cosmosEndpoint
  COSMOS_DATABASE: cosmosDatabase
  PERDURE_MODEL: chatModel
  PERDURE_EMBEDDING_MODEL: embeddingModel
  PERDURE_EMBEDDING_DIMENSIONS: string(embeddingDimensions)
  PERDURE_ADMIN_KEY: '@Microsoft.KeyVault(SecretUri=${keyVaultUri}secrets/perdure-admin-key)'
  PERDURE_PUBLIC_URL: publicUrl
}

var modelSettings = empty(azureOpenAiEndpoint) ? {
  OPENAI_BASE_URL: openAiBaseUrl
  OPENAI_API_KEY: '@Microsoft.KeyVault(SecretUri=${keyVaultUri}secrets/openai-api-key)'
} : {
  AZURE_OPENAI_ENDPOINT: azureOpenAiEndpoint
}

// A plan that is spread over zones takes no fewer than two, unless it takes none.
var fewest = zoneRedundant ? 2 : 1
var durableInstances = alwaysReadyDurable == 0 ? [] : [{ name: 'durable', instanceCount: max(alwaysReadyDurable, fewest) }]
var httpInstances = alwaysReadyHttp == 0 ? [] : [{ name: 'http', instanceCount: max(alwaysReadyHttp, fewest) }]

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: planId
    httpsOnly: true
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    keyVaultReferenceIdentity: identityId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${deploymentContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        alwaysReady: concat(durableInstances, httpInstances)
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
    }
  }
}

// Not in the site: a list of them would be a loop over what only Azure knows, which Bicep refuses.
resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(hostSettings, schedulerSettings, agentSettings, modelSettings, settings)
}

// Nobody deploys with a password.
resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

output id string = app.id
output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
