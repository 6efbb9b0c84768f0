"""The REST API: a router per resource over the services, and the Serve application."""
