"""Programs of others at the API of a lab: client libraries, controllers, service proxies."""
