// What somebody is told about. The queries are in alerts.json, where a test finds the words the app really logs.

param token string
param location string
param tags object
param emails array
param workspaceId string
param cosmosId string
@description('Empty: no Azure OpenAI.')
param openAiId string
param dailyTokens int

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'perdure'
    emailReceivers: [for email in emails: {
      name: email
      emailAddress: email
      useCommonAlertSchema: true
    }]
  }
}

resource logged 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for alert in loadJsonContent('../alerts.json'): {
  name: '${alert.name}-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: alert.name
    description: alert.description
    severity: alert.severity
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT5M'
    windowSize: alert.window
    // The tables are there once telemetry has come in.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: alert.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: alert.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: { actionGroups: [actionGroup.id] }
  }
}]

resource throttled 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'cosmos-throttled-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Azure Cosmos DB answers 429: more request units are asked for than there are.'
    severity: 2
    enabled: true
    scopes: [cosmosId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'throttled'
          metricNamespace: 'Microsoft.DocumentDB/databaseAccounts'
          metricName: 'TotalRequests'
          dimensions: [{ name: 'StatusCode', operator: 'Include', values: ['429'] }]
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 100
        }
      ]
    }
    actions: [{ actionGroupId: actionGroup.id }]
  }
}

// Tokens are nearly all that a day costs; docs/operations.md turns them into money.
resource tokens 'Microsoft.Insights/metricAlerts@2018-03-01' = if (!empty(openAiId)) {
  name: 'tokens-per-day-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'More tokens within a day than are expected.'
    severity: 2
    enabled: true
    scopes: [openAiId]
    evaluationFrequency: 'PT1H'
    windowSize: 'P1D'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'tokens'
          metricNamespace: 'Microsoft.CognitiveServices/accounts'
          metricName: 'TokenTransaction'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: dailyTokens
        }
      ]
    }
    actions: [{ actionGroupId: actionGroup.id }]
  }
}

output actionGroupId string = actionGroup.id
