Write-Output "Perdure answers at $env:PERDURE_URL; its documentation is at $env:PERDURE_URL/api/docs"
