"""An app that cannot be imported."""

import azure.functions as func
import no_such_package  # noqa: F401 - that is what is wrong with it

app = func.FunctionApp()
