"""Which notices are sent to which recipients, and when: decided from those sent before."""
