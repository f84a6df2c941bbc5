"""The revocation panel."""
