"""The client of the Kubernetes API: kinds, requests, informers and their stores, the work queue, leader election."""
