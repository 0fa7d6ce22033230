"""What Perdure keeps, written once over the storage port."""
