"""The service: records, detection, workflows, doors and faces."""
