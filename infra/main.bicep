// Everything Perdure needs in Azure, in a resource group of its own. Each module is one concern.
// docs/deploy.md says what the parameters mean together; main.parameters.json fills them from the azd environment.
targetScope = 'subscription'

// Where and what it is called.

@description('Name of the environment; part of the name of the resource group.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('Region of the function app and of everything that is not placed elsewhere below.')
param location string

@description('Region of the database, and so of everything that Perdure keeps. Empty: the same.')
param dataLocation string = ''

@description('Region of Azure OpenAI, for models that the first region does not have. Empty: the same.')
param modelLocation string = ''

@description('Spread the plan, storage, database and scheduler over the zones of their region.')
param zoneRedundant bool = false

@description('Object id of whoever deploys. It may read the admin key. Empty: nobody may.')
param principalId string = ''

@allowed(['User', 'ServicePrincipal', 'Group'])
param principalType string = 'User'

// The model.

@description('azureOpenAI: deployments made here, with Microsoft Entra ID. openAI: another endpoint, its key in Key Vault.')
@allowed(['azureOpenAI', 'openAI'])
param modelProvider string = 'azureOpenAI'

@description('With openAI: an OpenAI-compatible endpoint down to /v1. Empty: OpenAI itself.')
param openAiBaseUrl string = ''

@description('Chat model; also the name of its deployment.')
param chatModel string = 'gpt-5-mini'

param chatModelVersion string = '2025-08-07'

@description('Standard and DataZoneStandard process prompts in the region or its zone, GlobalStandard anywhere.')
@allowed(['GlobalStandard', 'DataZoneStandard', 'Standard'])
param modelSku string = 'GlobalStandard'

@description('Thousands of tokens a minute for the chat model.')
param chatCapacity int = 100

@description('Embedding model; also the name of its deployment. none: feature hashing. For azd, empty is the same as absent.')
param embeddingModel string = 'text-embedding-3-small'

param embeddingModelVersion string = '1'

@description('Length of the vectors, fixed for the life of the memories container.')
@minValue(1)
@maxValue(4096)
param embeddingDimensions int = 1536

@description('Thousands of tokens a minute for the embedding model.')
param embeddingCapacity int = 100

// Compute and the task hub.

@description('Instances of the orchestrations and activities that always run. 0: scale to zero.')
@minValue(0)
param alwaysReadyDurable int = 1

@description('Instances for HTTP that always run. 0: scale to zero.')
@minValue(0)
param alwaysReadyHttp int = 0

@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 100

@description('A Durable Task Scheduler in place of Azure Storage. The package must be built for it, too: see docs/deploy.md.')
@allowed(['', 'Consumption', 'Dedicated'])
param durableTaskScheduler string = ''

@description('Capacity units of a dedicated scheduler.')
@minValue(1)
@maxValue(3)
param durableTaskCapacity int = 1

// Who can reach it.

@description('A virtual network with private endpoints; storage, database, model, vault and scheduler close their public ones.')
param privateNetwork bool = false

@description('With privateNetwork: the API, too, answers in the virtual network only.')
param privateApi bool = false

@description('API Management in front. StandardV2 can reach a private API. Empty: none.')
@allowed(['', 'BasicV2', 'StandardV2'])
param apiManagementSku string = ''

@description('Requests a minute that API Management lets one client address send.')
param apiManagementRateLimit int = 600

@description('OpenID Connect configuration of the issuer whose tokens API Management checks. Empty: Microsoft Entra ID of this tenant.')
param jwtOpenIdConfiguration string = ''

@description('Audience those tokens must be meant for. Empty: API Management lets no token pass, only API keys.')
param jwtAudience string = ''

// Watching it.

@description('Addresses for alerts, separated by commas.')
param alertEmails string = ''

@description('Budget of the resource group a month, in the currency of the subscription.')
param monthlyBudget int = 200

@description('First day of the month in which the budget begins to count.')
param budgetStart string = utcNow('yyyy-MM-01')

@description('Tokens a day after which somebody is told.')
param dailyTokens int = 20000000

@description('Other settings of the app, by name; see the table in README.md.')
param settings object = {}

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var functionAppName = 'func-${token}'
var embeddings = embeddingModel == 'none' ? '' : embeddingModel
var usesAzureOpenAI = modelProvider == 'azureOpenAI'
var usesScheduler = !empty(durableTaskScheduler)
var usesGateway = !empty(apiManagementSku)
var apiIsPrivate = privateNetwork && privateApi

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    publicAccess: !privateNetwork
  }
}

module cosmos 'modules/cosmos.bicep' = {
  name: 'cosmos'
  scope: group
  params: {
    name: 'cosmos-${token}'
    location: empty(dataLocation) ? location : dataLocation
    tags: tags
    zoneRedundant: zoneRedundant
    publicAccess: !privateNetwork
    embeddingDimensions: embeddingDimensions
  }
}

module openai 'modules/openai.bicep' = if (usesAzureOpenAI) {
  name: 'openai'
  scope: group
  params: {
    name: 'oai-${token}'
    location: empty(modelLocation) ? location : modelLocation
    tags: tags
    publicAccess: !privateNetwork
    sku: modelSku
    chatModel: chatModel
    chatModelVersion: chatModelVersion
    chatCapacity: chatCapacity
    embeddingModel: embeddings
    embeddingModelVersion: embeddingModelVersion
    embeddingCapacity: embeddingCapacity
  }
}

module keyVault 'modules/key_vault.bicep' = {
  name: 'key-vault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    publicAccess: !privateNetwork
  }
}

module scheduler 'modules/durable_task_scheduler.bicep' = if (usesScheduler) {
  name: 'durable-task-scheduler'
  scope: group
  params: {
    name: 'dts-${token}'
    location: location
    tags: tags
    sku: durableTaskScheduler
    capacity: durableTaskCapacity
    zoneRedundant: zoneRedundant
    publicAccess: !privateNetwork
  }
}

module network 'modules/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    name: 'vnet-${token}'
    location: location
    tags: tags
  }
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    identityPrincipalId: identity.outputs.principalId
    deployerPrincipalId: principalId
    deployerPrincipalType: principalType
    storageName: storage.outputs.name
    cosmosName: cosmos.outputs.name
    cosmosDatabase: cosmos.outputs.database
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    keyVaultName: keyVault.outputs.name
    openAiName: usesAzureOpenAI ? openai!.outputs.name : ''
    schedulerName: usesScheduler ? scheduler!.outputs.name : ''
    taskHubName: usesScheduler ? scheduler!.outputs.taskHubName : ''
  }
}

module plan 'modules/plan.bicep' = {
  name: 'plan'
  scope: group
  params: {
    name: 'plan-${token}'
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
  }
}

module apiManagement 'modules/api_management.bicep' = if (usesGateway) {
  name: 'api-management'
  scope: group
  params: {
    name: 'apim-${token}'
    location: location
    tags: tags
    sku: apiManagementSku
    subnetId: privateNetwork ? network!.outputs.gatewaySubnetId : ''
    publisherEmail: empty(alertEmails) ? 'nobody@example.com' : split(alertEmails, ',')[0]
    backendUrl: 'https://${functionAppName}.azurewebsites.net'
    rateLimit: apiManagementRateLimit
    jwtOpenIdConfiguration: jwtOpenIdConfiguration
    jwtAudience: jwtAudience
  }
}

module functionApp 'modules/function_app.bicep' = {
  name: 'function-app'
  scope: group
  dependsOn: [roles]
  params: {
    name: functionAppName
    location: location
    tags: tags
    planId: plan.outputs.id
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageName: storage.outputs.name
    deploymentContainer: storage.outputs.deploymentContainer
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    subnetId: privateNetwork ? network!.outputs.appSubnetId : ''
    publicAccess: !apiIsPrivate
    zoneRedundant: zoneRedundant
    alwaysReadyDurable: alwaysReadyDurable
    alwaysReadyHttp: alwaysReadyHttp
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    keyVaultUri: keyVault.outputs.uri
    cosmosEndpoint: cosmos.outputs.endpoint
    cosmosDatabase: cosmos.outputs.database
    azureOpenAiEndpoint: usesAzureOpenAI ? openai!.outputs.endpoint : ''
    openAiBaseUrl: usesAzureOpenAI ? '' : openAiBaseUrl
    chatModel: chatModel
    embeddingModel: embeddings
    embeddingDimensions: embeddingDimensions
    schedulerEndpoint: usesScheduler ? scheduler!.outputs.endpoint : ''
    publicUrl: usesGateway ? apiManagement!.outputs.url : ''
    settings: settings
  }
}

module privateEndpoints 'modules/private_endpoints.bicep' = if (privateNetwork) {
  name: 'private-endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointSubnetId
    storageId: storage.outputs.id
    cosmosId: cosmos.outputs.id
    keyVaultId: keyVault.outputs.id
    openAiId: usesAzureOpenAI ? openai!.outputs.id : ''
    schedulerId: usesScheduler ? scheduler!.outputs.id : ''
    functionAppId: apiIsPrivate ? functionApp.outputs.id : ''
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    emails: empty(alertEmails) ? [] : split(alertEmails, ',')
    workspaceId: monitoring.outputs.workspaceId
    cosmosId: cosmos.outputs.id
    openAiId: usesAzureOpenAI ? openai!.outputs.id : ''
    dailyTokens: dailyTokens
  }
}

module budget 'modules/budget.bicep' = {
  name: 'budget'
  scope: group
  params: {
    name: 'budget-${token}'
    amount: monthlyBudget
    startDate: budgetStart
    actionGroupId: alerts.outputs.actionGroupId
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = functionApp.outputs.name
output AZURE_KEY_VAULT_NAME string = keyVault.outputs.name
output PERDURE_URL string = usesGateway ? apiManagement!.outputs.url : functionApp.outputs.url
