"""The comparison panel."""
