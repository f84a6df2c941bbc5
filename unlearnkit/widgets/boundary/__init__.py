"""The boundary panel."""
