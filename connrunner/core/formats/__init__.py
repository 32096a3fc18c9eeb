"""What other programs read: iCalendar, Prometheus, trace context."""
