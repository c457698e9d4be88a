"""Tasks, Builds and their Pods as tests make them, and a simulated kubelet."""
