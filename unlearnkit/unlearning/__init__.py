"""From a request to its workload, decision and outcome."""
