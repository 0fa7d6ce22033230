// State. The containers are those of perdure/documents/containers.py; a test compares every field.

param name string
param location string
param tags object
param zoneRedundant bool
param publicAccess bool
param embeddingDimensions int

// What only the adapter reads, payload that no listing filters by, and vectors are left out of the ordinary index.
var containers = [
  {
    name: 'tasks'
    partitionKey: ['/tenantId', '/taskId']
    vector: ''
    excluded: [
      '/agent/*'
      '/arguments/*'
      '/calls/*'
      '/comment/*'
      '/content/*'
      '/context/*'
      '/detail/*'
      '/metadata/*'
      '/perdureMarks/*'
      '/query/*'
      '/result/*'
      '/text/*'
      '/"_etag"/?'
    ]
  }
  {
    name: 'threads'
    partitionKey: ['/tenantId', '/threadId']
    vector: ''
    excluded: ['/calls/*', '/comment/*', '/content/*', '/perdureMarks/*', '/summary/*', '/text/*', '/"_etag"/?']
  }
  {
    name: 'memories'
    partitionKey: ['/tenantId', '/scope']
    vector: '/embedding'
    excluded: ['/heading/*', '/perdureMarks/*', '/text/*', '/"_etag"/?', '/embedding/*']
  }
  {
    name: 'controls'
    partitionKey: ['/tenantId', '/kind']
    vector: ''
    excluded: ['/content/*', '/perdureMarks/*', '/reserved/*', '/result/*', '/tasks/*', '/use/*', '/"_etag"/?']
  }
  {
    name: 'outbox'
    partitionKey: ['/tenantId', '/userId']
    vector: ''
    excluded: ['/message/*', '/perdureMarks/*', '/"_etag"/?']
  }
]

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' = {
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    capabilities: [{ name: 'EnableServerless' }, { name: 'EnableNoSQLVectorSearch' }]
    consistencyPolicy: { defaultConsistencyLevel: 'Session' }
    locations: [
      {
        locationName: location
        failoverPriority: 0
        isZoneRedundant: zoneRedundant
      }
    ]
    disableLocalAuth: true
    disableKeyBasedMetadataWriteAccess: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: { tier: 'Continuous7Days' }
    }
  }
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2025-04-15' = {
  parent: account
  name: 'perdure'
  properties: {
    resource: { id: 'perdure' }
  }
}

resource container 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2025-04-15' = [for item in containers: {
  parent: database
  name: item.name
  properties: {
    resource: {
      id: item.name
      partitionKey: {
        paths: item.partitionKey
        kind: 'MultiHash'
        version: 2
      }
      // Documents expire by their own `ttl`, and without one never.
      defaultTtl: -1
      indexingPolicy: {
        indexingMode: 'consistent'
        automatic: true
        includedPaths: [{ path: '/*' }]
        excludedPaths: [for path in item.excluded: { path: path }]
        vectorIndexes: empty(item.vector) ? null : [{ path: item.vector, type: 'quantizedFlat' }]
      }
      vectorEmbeddingPolicy: empty(item.vector) ? null : {
        vectorEmbeddings: [
          {
            path: item.vector
            dataType: 'float32'
            distanceFunction: 'cosine'
            dimensions: embeddingDimensions
          }
        ]
      }
    }
  }
}]

output id string = account.id
output name string = account.name
output database string = database.name
output endpoint string = account.properties.documentEndpoint
