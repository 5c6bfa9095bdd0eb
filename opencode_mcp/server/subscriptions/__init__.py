"""Resource subscriptions: OpenCode's events become notifications, in one process or over replicas."""
