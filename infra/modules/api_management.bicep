// A gateway in front: it checks tokens, limits each client address, and passes streams on as they come.
// The app checks every credential again, so that going past the gateway gains nothing.

param name string
param location string
param tags object
param sku string
@description('Empty: no virtual network.')
param subnetId string
param publisherEmail string
param backendUrl string
param rateLimit int
param jwtOpenIdConfiguration string
param jwtAudience string

var entraConfiguration = '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0/.well-known/openid-configuration'
var openIdConfiguration = empty(jwtOpenIdConfiguration) ? entraConfiguration : jwtOpenIdConfiguration
// An audience nothing is ever meant for.
var audience = empty(jwtAudience) ? 'none' : jwtAudience
var template = loadTextContent('../policies/api.xml')
var limited = replace(template, '{rateLimit}', string(rateLimit))
var policy = replace(replace(limited, '{openIdConfiguration}', openIdConfiguration), '{audience}', audience)

// BasicV2 has no way into a virtual network.
var inNetwork = !empty(subnetId) && sku == 'StandardV2'

resource gateway 'Microsoft.ApiManagement/service@2024-05-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
    capacity: 1
  }
  identity: { type: 'SystemAssigned' }
  properties: {
    publisherName: 'Perdure'
    publisherEmail: publisherEmail
    virtualNetworkType: inNetwork ? 'External' : 'None'
    virtualNetworkConfiguration: inNetwork ? { subnetResourceId: subnetId } : null
  }
}

resource api 'Microsoft.ApiManagement/service/apis@2024-05-01' = {
  parent: gateway
  name: 'perdure'
  properties: {
    displayName: 'Perdure'
    path: ''
    protocols: ['https']
    serviceUrl: backendUrl
    subscriptionRequired: false
  }
}

resource operation 'Microsoft.ApiManagement/service/apis/operations@2024-05-01' = [for method in ['GET', 'POST', 'DELETE']: {
  parent: api
  name: 'any-${toLower(method)}'
  properties: {
    displayName: method
    method: method
    urlTemplate: '/api/*'
  }
}]

resource apiPolicy 'Microsoft.ApiManagement/service/apis/policies@2024-05-01' = {
  parent: api
  name: 'policy'
  properties: {
    format: 'xml'
    value: policy
  }
}

output url string = gateway.properties.gatewayUrl
