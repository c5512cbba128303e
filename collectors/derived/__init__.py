"""What is calculated from committed samples: scores, alerts, sessions."""
