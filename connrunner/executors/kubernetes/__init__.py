"""Runs as Jobs of Kubernetes. Why no library of Kubernetes: `api_client`."""
