"""The ledger and what is derived from it: certificates, audits, scripts."""
