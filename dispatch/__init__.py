"""From an alarm condition to a human being at the door: incidents, escalation, messages, carriers."""
