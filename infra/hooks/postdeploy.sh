#!/bin/sh
set -eu
echo "Perdure answers at $PERDURE_URL; its documentation is at $PERDURE_URL/api/docs"
